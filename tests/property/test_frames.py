"""Whatever the pieces a stream comes in, its frames are the same; whatever else comes, FrameError and nothing more."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.actors.runtime.frames import (
    HANDSHAKE_KINDS,
    HANDSHAKE_LIMIT,
    HEADER,
    FrameDecoder,
    FrameError,
    Kind,
    encode,
)

LIMIT = 1000
DATA_KINDS = sorted(set(Kind) - HANDSHAKE_KINDS)

frames = st.tuples(st.sampled_from(DATA_KINDS), st.binary(max_size=LIMIT))
handshake_frames = st.tuples(st.sampled_from(sorted(HANDSHAKE_KINDS)), st.binary(max_size=HANDSHAKE_LIMIT))


def established() -> FrameDecoder:
    decoder = FrameDecoder(LIMIT)
    decoder.establish()
    return decoder


def pieces_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(places)]


def read(decoder: FrameDecoder, pieces: list[bytes]) -> list[tuple[Kind, bytes]]:
    found = []
    for piece in pieces:
        decoder.feed(piece)
        while (frame := decoder.next_frame()) is not None:
            found.append(frame)
        assert decoder.buffered <= HEADER.size + LIMIT
    return found


@given(st.lists(frames, max_size=20), st.lists(st.integers(min_value=0), max_size=40))
def test_any_split_of_a_stream_gives_its_frames(sent, cuts):
    stream = b"".join(encode(kind, body) for kind, body in sent)
    decoder = established()
    assert read(decoder, pieces_of(stream, cuts)) == sent
    assert decoder.buffered == 0


@given(st.lists(handshake_frames, max_size=5), st.lists(frames, max_size=5), st.integers(min_value=0))
def test_frames_that_came_with_the_last_of_the_handshake_are_not_lost(before, after, cut):
    decoder = FrameDecoder(LIMIT)
    stream = b"".join(encode(kind, body) for kind, body in [*before, *after])
    found: list[tuple[Kind, bytes]] = []
    for piece in pieces_of(stream, [cut]):
        decoder.feed(piece)
        while True:
            if len(found) == len(before):
                decoder.establish()
            frame = decoder.next_frame()
            if frame is None:
                break
            found.append(frame)
    assert found == [*before, *after]


@given(st.binary(max_size=4000), st.booleans(), st.lists(st.integers(min_value=0), max_size=8))
def test_garbage_raises_frame_error_or_is_a_frame(garbage, after_handshake, cuts):
    decoder = established() if after_handshake else FrameDecoder(LIMIT)
    bound = LIMIT if after_handshake else HANDSHAKE_LIMIT
    try:
        for piece in pieces_of(garbage, cuts):
            decoder.feed(piece)
            while (frame := decoder.next_frame()) is not None:
                assert len(frame[1]) <= bound
            assert decoder.buffered <= HEADER.size + bound
    except FrameError:
        pass


@given(st.sampled_from(DATA_KINDS), st.integers(min_value=LIMIT + 1, max_value=2**32 - 1))
def test_a_length_over_the_bound_is_refused_from_the_header_alone(kind, length):
    decoder = established()
    decoder.feed(HEADER.pack(length, kind))
    with pytest.raises(FrameError, match="over the bound"):
        decoder.next_frame()


@given(st.sampled_from(sorted(HANDSHAKE_KINDS)), st.integers(min_value=HANDSHAKE_LIMIT + 1, max_value=2**32 - 1))
def test_before_the_handshake_the_bound_is_that_of_the_handshake(kind, length):
    decoder = FrameDecoder(LIMIT)
    decoder.feed(HEADER.pack(length, kind))
    with pytest.raises(FrameError, match="over the bound"):
        decoder.next_frame()


@pytest.mark.parametrize("kind", DATA_KINDS)
def test_no_data_is_taken_before_the_handshake(kind):
    decoder = FrameDecoder(LIMIT)
    decoder.feed(encode(kind, b""))
    with pytest.raises(FrameError, match="not allowed now"):
        decoder.next_frame()


@pytest.mark.parametrize("kind", sorted(HANDSHAKE_KINDS))
def test_no_second_handshake_is_taken(kind):
    decoder = established()
    decoder.feed(encode(kind, b""))
    with pytest.raises(FrameError, match="not allowed now"):
        decoder.next_frame()


@given(st.integers(min_value=0, max_value=255).filter(lambda code: code not in set(Kind)))
def test_an_unknown_kind_is_refused(code):
    decoder = established()
    decoder.feed(HEADER.pack(0, code))
    with pytest.raises(FrameError, match="unknown"):
        decoder.next_frame()

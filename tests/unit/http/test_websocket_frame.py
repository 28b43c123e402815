from __future__ import annotations

import struct

import pytest

from bitnexus.http.channels.broadcast import Broadcast
from bitnexus.http.channels.serializer import SERIALIZERS
from bitnexus.http.channels.websocket_frame import frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
@pytest.mark.parametrize(("kind", "of"), [(0x81, "x"), (0x82, b"x")])
def test_a_frame_is_one_whole_message_without_a_mask(size, kind, of):
    framed = frame(of * size)
    assert framed[0] == kind
    if size <= 125:
        length, start = framed[1], 2
    elif size <= 65_535:
        assert framed[1] == 126
        (length,), start = struct.unpack("!H", framed[2:4]), 4
    else:
        assert framed[1] == 127
        (length,), start = struct.unpack("!Q", framed[2:10]), 10
    assert (length, framed[start:]) == (size, b"x" * size)


def test_the_length_of_a_text_is_that_of_its_bytes():
    assert frame("é") == b"\x81\x02\xc3\xa9"


def test_an_event_is_framed_once_for_all_readers_of_a_version():
    event = Broadcast("t", "e", "{}")
    for serializer in SERIALIZERS.values():
        assert event.frame(serializer) is event.frame(serializer)
        assert event.frame(serializer) == frame(event.text(serializer))

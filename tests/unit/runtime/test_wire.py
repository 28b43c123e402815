from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.actors.runtime import wire
from bitnexus.actors.runtime.message import Done, Message, ProcessInfo
from bitnexus.errors import UnknownMessage


class Note(Message, frozen=True, tag="test.Note/1"):
    text: str
    numbers: list[int] = []  # noqa: RUF012 - msgspec copies it


infos = st.builds(ProcessInfo, st.text(), st.text(), st.text(), st.text(), st.integers(0, 2**31))
notes = st.builds(Note, st.text(), st.lists(st.integers(-(2**63), 2**64 - 1)))
messages = st.one_of(st.just(Done()), infos, notes)
refs = st.integers(min_value=0, max_value=2**63)
items = st.one_of(
    st.builds(wire.encode_call, refs, st.integers(0, 2**40), st.text(max_size=40), messages),
    st.builds(wire.encode_cast, st.text(max_size=40), messages),
    st.builds(wire.encode_reply, refs, messages),
    st.builds(wire.encode_failure, refs, st.text(max_size=20), st.text()),
)


@given(st.lists(items, max_size=40))
def test_a_batch_gives_back_its_items(batch):
    encoder = msgspec.msgpack.Encoder()
    assert [encoder.encode(item) for item in wire.split(wire.join(batch))] == batch


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 2048])
def test_a_batch_may_have_any_number_of_items(count):
    items = wire.split(wire.join([wire.encode_cast("", Done())] * count))
    assert len(items) == count


@given(refs, st.integers(0, 2**40), st.text(), messages)
def test_a_call_carries_its_message(ref, ttl_ms, trace, message):
    (item,) = wire.split(wire.join([wire.encode_call(ref, ttl_ms, trace, message)]))
    assert isinstance(item, wire.Call)
    assert (item.ref, item.ttl_ms, item.trace) == (ref, ttl_ms, trace)
    assert wire.decode_message(item.body) == message


@given(st.binary(max_size=300))
def test_garbage_is_a_decode_error_and_no_other(garbage):
    with contextlib.suppress(msgspec.DecodeError):
        wire.split(garbage)
    with contextlib.suppress(UnknownMessage):
        wire.decode_message(msgspec.Raw(garbage))


def test_an_unknown_message_is_refused_and_its_neighbours_are_not():
    strange = wire.Cast("", msgspec.Raw(msgspec.msgpack.encode(["test.Unheard/1", 1])))
    batch = [wire.encode_cast("", Done()), msgspec.msgpack.encode(strange), wire.encode_cast("", Done())]
    first, second, third = wire.split(wire.join(batch))
    assert not isinstance(first, wire.Failure | wire.Cancel)
    assert not isinstance(second, wire.Failure | wire.Cancel)
    assert not isinstance(third, wire.Failure | wire.Cancel)
    with pytest.raises(UnknownMessage):
        wire.decode_message(second.body)
    assert wire.decode_message(first.body) == wire.decode_message(third.body) == Done()


@pytest.mark.parametrize("body", [["test.Note/2", "x"], ["test.Note/1", 7], ["test.Note/1"], {"text": "x"}, None])
def test_another_version_or_shape_of_a_known_message_is_unknown(body):
    with pytest.raises(UnknownMessage):
        wire.decode_message(msgspec.Raw(msgspec.msgpack.encode(body)))


def test_a_message_that_is_defined_after_others_were_read_is_known():
    raw = msgspec.Raw(msgspec.msgpack.encode(["test.Late/1", 7]))
    with pytest.raises(UnknownMessage):
        wire.decode_message(raw)

    class Late(Message, frozen=True, tag="test.Late/1"):
        number: int

    assert wire.decode_message(raw) == Late(7)


_DEEP = b"\x91" * 200_000 + b"\xc0"


@pytest.mark.parametrize(
    "batch", [b"\x91\x95\x01\x01\x01\xa0" + _DEEP, b"\x91\x93\x02\xa1\x80\xc0"], ids=["deep", "text"]
)
def test_nesting_without_end_and_text_that_is_none_are_decode_errors_of_a_batch(batch):
    with pytest.raises(msgspec.DecodeError):
        wire.split(batch)


@pytest.mark.parametrize("body", [b"\x92\xa6Done/1" + _DEEP, b"\xdd\x00\x00\x00\x01\xa1\x80"], ids=["deep", "text"])
def test_nesting_without_end_and_text_that_is_none_are_unknown_messages(body):
    with pytest.raises(UnknownMessage):
        wire.decode_message(msgspec.Raw(body))

"""Any message of a client: a frame within its bounds, or the protocol's own error; and what was read goes back."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitnexus.http.channels.binary import decode_push
from bitnexus.http.channels.broadcast import Broadcast
from bitnexus.http.channels.frame import MAX_EVENT_CHARS, MAX_REF_CHARS, MAX_TOPIC_CHARS, BadFrame, Frame
from bitnexus.http.channels.serializer import SERIALIZERS, V1, V2
from bitnexus.http.channels.session import MAX_CHANNELS, Handle, Send, Session, Subscribe, Unsubscribe
from bitnexus.http.channels.topics import Verdict

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
refs = st.none() | st.integers(-(10**30), 10**30) | st.text(max_size=MAX_REF_CHARS)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)


def within_bounds(frame):
    for ref in (frame.join_ref, frame.ref):
        assert ref is None or (type(ref) in (int, str) and len(str(ref)) <= MAX_REF_CHARS)
    assert len(frame.topic) <= MAX_TOPIC_CHARS
    assert len(frame.event) <= MAX_EVENT_CHARS
    assert isinstance(frame.payload, dict | bytes)


@pytest.mark.parametrize("version", SERIALIZERS)
@given(message=st.text(max_size=300) | st.binary(max_size=300) | json_values.map(json.dumps))
@example(message=b"\x00\xff\xff\xff\xff" + b"\xff" * 1020)
def test_any_message_is_a_frame_within_its_bounds_or_a_bad_frame(version, message):
    serializer = SERIALIZERS[version]
    try:
        frame = serializer.decode(message)
    except BadFrame:
        return
    within_bounds(frame)
    reply = serializer.encode_reply(frame.join_ref, frame.ref, frame.topic, "ok", {})
    assert len(reply) <= 6 * (len(message) + 100)  # whatever is echoed came in, escaped at most


@given(st.binary(max_size=20), st.binary(max_size=900))
def test_any_bytes_behind_a_binary_header_are_a_push_or_a_bad_frame(header, rest):
    try:
        frame = V2().decode(b"\x00" + header + rest)
    except BadFrame:
        return
    within_bounds(frame)


@given(refs, refs, st.text(max_size=50), st.text(max_size=50))
def test_what_was_read_is_written_back_the_same(join_ref, ref, topic, event):
    frame = Frame(join_ref, ref, topic, event, {})
    assert V2().decode(V2().encode(frame)) == frame
    assert V1().decode(V1().encode(frame)) == Frame(None, ref, topic, event, {})


def short(size):
    return texts.filter(lambda text: len(text.encode()) <= size)


@given(short(252), short(252), short(255), short(255), st.binary(max_size=100))
def test_a_binary_push_of_any_texts_is_read_as_it_was_written(join_ref, ref, topic, event, data):
    parts = [text.encode() for text in (join_ref, ref, topic, event)]
    frame = decode_push(bytes((0, *map(len, parts))) + b"".join(parts) + data)
    assert frame == Frame(join_ref or None, ref or None, topic, event, data)


frames = st.builds(
    Frame,
    st.sampled_from([None, "1", "2", 2]),
    st.sampled_from([None, "1", 7]),
    st.sampled_from(["open:1", "open:2", "shut", "phoenix"]),
    st.sampled_from(["phx_join", "phx_join", "phx_leave", "heartbeat", "work", "other"]),
    st.just({}) | st.just(b"x"),
)


def judge(topic):
    return Verdict.ALLOWED if topic.startswith("open:") else Verdict.UNKNOWN


@given(st.data(), st.sampled_from(list(SERIALIZERS)))
def test_in_whatever_order_things_happen_no_question_is_answered_twice_and_no_channel_ends_twice(data, version):
    """A client that joins, leaves and pushes as it likes; subscriptions and handlers end in any order, or fail."""
    session = Session(judge, SERIALIZERS[version], lambda _topic, event: event == "work")
    subscribing, handling, said = [], [], []

    def apply(effects):
        for effect in effects:
            if isinstance(effect, Subscribe):
                subscribing.append(effect)
            elif isinstance(effect, Handle):
                handling.append(effect)
            elif isinstance(effect, Send):
                read = json.loads(effect.message)
                said.append(read if isinstance(read, dict) else dict(zip("jrtep", read, strict=True)))
            else:
                assert isinstance(effect, Unsubscribe)
                assert effect.topic not in session.topics

    asked = 0
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.integers(0, 5)):
            case 0 if subscribing:
                request = subscribing.pop(data.draw(st.integers(0, len(subscribing) - 1)))
                end = data.draw(st.sampled_from([session.subscribed, session.join_crashed]))
                apply(end(request))
            case 1 if handling:
                push = handling.pop(data.draw(st.integers(0, len(handling) - 1)))
                apply(session.replied(push, "ok", {}) if data.draw(st.booleans()) else session.crashed(push))
            case 2:
                apply(session.broadcast(Broadcast(data.draw(st.sampled_from(["open:1", "open:2"])), "news", "{}")))
            case _:
                apply(session.receive(data.draw(frames)))
                asked += 1
        assert len(session.topics) <= MAX_CHANNELS
    replies = sum((item.get("event") or item.get("e")) == "phx_reply" for item in said)
    assert replies <= asked
    closed = sum((item.get("event") or item.get("e")) in ("phx_close", "phx_error") for item in said)
    assert closed <= asked

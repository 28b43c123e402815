from __future__ import annotations

import json

import pytest

from bitnexus.http.channels import session as session_module
from bitnexus.http.channels.serializer import Frame
from bitnexus.http.channels.session import MAX_CHANNELS, Send, Session, Subscribe, Unsubscribe
from bitnexus.http.channels.topics import Verdict


def judge(topic):
    if topic.startswith("open:"):
        return Verdict.ALLOWED
    return Verdict.FORBIDDEN if topic.startswith("shut:") else Verdict.UNKNOWN


@pytest.fixture
def session():
    return Session(judge)


def sent(effects):
    return [json.loads(effect.text) for effect in effects if isinstance(effect, Send)]


def others(effects):
    return [effect for effect in effects if not isinstance(effect, Send)]


def reply(join_ref, ref, topic, status, response=None):
    return [join_ref, ref, topic, "phx_reply", {"status": status, "response": response or {}}]


def start_join(session, topic="open:1", join_ref="1", ref="1"):
    (request,) = session.receive(Frame(join_ref, ref, topic, "phx_join", {}))
    assert isinstance(request, Subscribe)
    return request


def join(session, topic="open:1", join_ref="1", ref="1"):
    return session.subscribed(start_join(session, topic, join_ref, ref))


def test_a_heartbeat_is_answered(session):
    assert sent(session.receive(Frame(None, "9", "phoenix", "heartbeat", {}))) == [reply(None, "9", "phoenix", "ok")]


def test_refs_are_echoed_with_their_type(session):
    assert sent(session.receive(Frame(None, 9, "phoenix", "heartbeat", {}))) == [reply(None, 9, "phoenix", "ok")]


def test_a_join_is_answered_when_its_subscription_stands(session):
    request = start_join(session)
    assert request.topic == "open:1"
    assert sent(session.subscribed(request)) == [reply("1", "1", "open:1", "ok")]
    assert session.topics == ["open:1"]


def test_a_forbidden_join_is_refused(session):
    effects = session.receive(Frame("1", "1", "shut:1", "phx_join", {}))
    assert sent(effects) == [reply("1", "1", "shut:1", "error", {"reason": "unauthorized"})]
    assert session.topics == []


def test_an_unknown_topic_is_unmatched(session):
    for event in ("phx_join", "shout"):
        effects = session.receive(Frame("1", "2", "what", event, {}))
        assert sent(effects) == [reply("1", "2", "what", "error", {"reason": "unmatched topic"})]


def test_an_event_on_a_topic_that_was_not_joined_is_unmatched(session):
    effects = session.receive(Frame("1", "2", "open:1", "shout", {}))
    assert sent(effects) == [reply("1", "2", "open:1", "error", {"reason": "unmatched topic"})]


def test_an_unknown_event_on_a_joined_topic_is_unmatched(session):
    join(session)
    effects = session.receive(Frame("1", "2", "open:1", "shout", {}))
    assert sent(effects) == [reply("1", "2", "open:1", "error", {"reason": "unmatched event"})]


def test_a_subscription_that_fails_fails_the_join(session):
    effects = session.subscription_failed(start_join(session), "timeout")
    assert sent(effects) == [reply("1", "1", "open:1", "error", {"reason": "timeout"})]
    assert others(effects) == [Unsubscribe("open:1")]
    assert session.topics == []


def test_leaving_is_answered_and_closes_the_channel(session):
    join(session)
    effects = session.receive(Frame("1", "2", "open:1", "phx_leave", {}))
    assert sent(effects) == [reply("1", "2", "open:1", "ok"), ["1", "1", "open:1", "phx_close", {}]]
    assert others(effects) == [Unsubscribe("open:1")]
    assert session.broadcast("open:1", "[]") == []


def test_leaving_what_was_not_joined_is_answered(session):
    effects = session.receive(Frame("1", "2", "open:1", "phx_leave", {}))
    assert sent(effects) == [reply("1", "2", "open:1", "ok")]


def test_leaving_while_joining_ends_the_join(session):
    request = start_join(session)
    effects = session.receive(Frame("1", "2", "open:1", "phx_leave", {}))
    assert sent(effects) == [reply("1", "2", "open:1", "ok"), ["1", "1", "open:1", "phx_close", {}]]
    assert session.subscribed(request) == []


def test_a_second_join_is_answered_first_and_then_the_first_is_closed(session):
    join(session)
    assert sent(join(session, join_ref="2", ref="5")) == [
        reply("2", "5", "open:1", "ok"),
        ["1", "1", "open:1", "phx_close", {}],
    ]
    assert session.topics == ["open:1"]


def test_a_join_replaced_before_it_was_answered_is_closed_with_the_others(session):
    join(session)
    first = start_join(session, join_ref="2", ref="5")
    second = start_join(session, join_ref="2", ref="5")
    assert session.subscribed(first) == []
    assert sent(session.subscribed(second)) == [
        reply("2", "5", "open:1", "ok"),
        ["1", "1", "open:1", "phx_close", {}],
        ["2", "2", "open:1", "phx_close", {}],
    ]


def test_a_stale_join_ref_is_dropped(session):
    join(session)
    join(session, join_ref="2", ref="5")
    assert session.receive(Frame("1", "6", "open:1", "phx_leave", {})) == []
    assert session.receive(Frame("1", "6", "open:1", "shout", {})) == []
    assert session.topics == ["open:1"]


def test_a_null_join_ref_is_accepted(session):
    join(session)
    effects = session.receive(Frame(None, "6", "open:1", "phx_leave", {}))
    assert sent(effects)[0] == reply("1", "6", "open:1", "ok")
    join(session, join_ref=None, ref="7")
    assert sent(session.receive(Frame("x", "8", "open:1", "phx_leave", {})))[0] == reply(None, "8", "open:1", "ok")


def test_the_channel_after_the_hundredth_is_refused(session):
    for number in range(MAX_CHANNELS):
        join(session, topic=f"open:{number}")
    effects = session.receive(Frame("1", "1", "open:x", "phx_join", {}))
    assert sent(effects) == [reply("1", "1", "open:x", "error", {"reason": "too many channels joined"})]
    assert sent(join(session, topic="open:5", join_ref="2"))[0][4]["status"] == "ok"


def test_a_broadcast_reaches_a_joined_channel_alone(session):
    assert session.broadcast("open:1", "[1]") == []
    join(session)
    assert session.broadcast("open:1", "[2]") == [Send("[2]")]
    assert session.broadcast("open:2", "[3]") == []


def test_broadcasts_during_a_join_follow_its_answer_in_order(session):
    request = start_join(session)
    assert session.broadcast("open:1", "[1]") == []
    assert session.broadcast("open:1", "[2]") == []
    answer, *events = sent(session.subscribed(request))
    assert answer == reply("1", "1", "open:1", "ok")
    assert events == [[1], [2]]
    assert session.broadcast("open:1", "[3]") == [Send("[3]")]


def test_broadcasts_that_cannot_be_kept_end_the_channel(session, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_WAITING_BROADCASTS", 1)
    request = start_join(session)
    session.broadcast("open:1", "[1]")
    effects = session.broadcast("open:1", "[2]")
    assert sent(effects) == [["1", "1", "open:1", "phx_error", {"reason": "overflow"}]]
    assert others(effects) == [Unsubscribe("open:1")]
    assert session.subscribed(request) == []

from __future__ import annotations

import json

import pytest

from bitnexus.http.channels import session as session_module
from bitnexus.http.channels.broadcast import Broadcast, Meta
from bitnexus.http.channels.feed import Recovery
from bitnexus.http.channels.frame import Frame
from bitnexus.http.channels.serializer import V1, V2
from bitnexus.http.channels.session import MAX_CHANNELS, MAX_PUSHES, Handle, Send, Session, Subscribe, Unsubscribe
from bitnexus.http.channels.topics import Verdict


def judge(topic):
    if topic.startswith("open:"):
        return Verdict.ALLOWED
    return Verdict.FORBIDDEN if topic.startswith("shut:") else Verdict.UNKNOWN


@pytest.fixture
def session():
    return Session(judge, V2(), lambda _topic, event: event == "work")


def sent(effects):
    return [json.loads(effect.message) for effect in effects if isinstance(effect, Send)]


def event(number, topic="open:1"):
    return Broadcast(topic, "news", str(number))


def news(number, topic="open:1"):
    return [None, None, topic, "news", number]


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


def test_every_answer_is_the_exact_text_that_phoenix_sends(session):
    (beat,) = session.receive(Frame(None, "9", "phoenix", "heartbeat", {}))
    assert beat == Send('[null,"9","phoenix","phx_reply",{"status":"ok","response":{}}]')
    (joined,) = join(session, join_ref="3", ref="4")
    assert joined == Send('["3","4","open:1","phx_reply",{"status":"ok","response":{}}]')
    left, closed, _ = session.receive(Frame("3", "5", "open:1", "phx_leave", {}))
    assert left == Send('["3","5","open:1","phx_reply",{"status":"ok","response":{}}]')
    assert closed == Send('["3","3","open:1","phx_close",{}]')


def test_version_1_answers_with_exactly_four_members_and_drops_stale_join_refs_as_well():
    session = Session(judge, V1())
    (joined,) = session.subscribed(start_join(session, join_ref="3", ref="4"))
    ok = '"payload":{"status":"ok","response":{}}'
    assert joined == Send(f'{{"topic":"open:1","event":"phx_reply",{ok},"ref":"4"}}')
    assert session.broadcast(event(1)) == [Send('{"topic":"open:1","event":"news","payload":1,"ref":null}')]
    assert session.receive(Frame("2", "5", "open:1", "phx_leave", {})) == []
    left, closed, _ = session.receive(Frame(None, "6", "open:1", "phx_leave", {}))
    assert left == Send(f'{{"topic":"open:1","event":"phx_reply",{ok},"ref":"6"}}')
    assert closed == Send('{"topic":"open:1","event":"phx_close","payload":{},"ref":"3"}')


def test_a_forbidden_join_is_refused(session):
    effects = session.receive(Frame("1", "1", "shut:1", "phx_join", {}))
    assert sent(effects) == [reply("1", "1", "shut:1", "error", {"reason": "unauthorized"})]
    assert session.topics == []


def test_an_unknown_topic_is_unmatched(session):
    for event in ("phx_join", "shout"):
        effects = session.receive(Frame("1", "2", "what", event, {}))
        assert sent(effects) == [reply(None, "2", "what", "error", {"reason": "unmatched topic"})]


def test_an_event_on_a_topic_that_was_not_joined_is_unmatched(session):
    effects = session.receive(Frame("1", "2", "open:1", "shout", {}))
    assert sent(effects) == [reply(None, "2", "open:1", "error", {"reason": "unmatched topic"})]


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
    assert session.broadcast(event(1)) == []


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
    assert session.broadcast(event(1)) == []
    join(session)
    assert sent(session.broadcast(event(2))) == [news(2)]
    assert session.broadcast(event(3, "open:2")) == []


def test_broadcasts_during_a_join_follow_its_answer_in_order(session):
    request = start_join(session)
    assert session.broadcast(event(1)) == []
    assert session.broadcast(event(2)) == []
    answer, *events = sent(session.subscribed(request))
    assert answer == reply("1", "1", "open:1", "ok")
    assert events == [news(1), news(2)]
    assert sent(session.broadcast(event(3))) == [news(3)]


def test_broadcasts_that_cannot_be_kept_end_the_channel(session, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_WAITING_BROADCASTS", 1)
    request = start_join(session)
    session.broadcast(event(1))
    effects = session.broadcast(event(2))
    assert sent(effects) == [["1", "1", "open:1", "phx_error", {"reason": "overflow"}]]
    assert others(effects) == [Unsubscribe("open:1")]
    assert session.subscribed(request) == []


def test_a_join_that_fails_for_a_fault_of_ours_has_crashed(session):
    effects = session.join_crashed(start_join(session))
    assert sent(effects) == [reply("1", "1", "open:1", "error", {"reason": "join crashed"})]
    assert others(effects) == [Unsubscribe("open:1")]
    assert session.topics == []


def push(session, ref="7", join_ref="1", payload=None):
    (handle,) = session.receive(Frame(join_ref, ref, "open:1", "work", {"a": 1} if payload is None else payload))
    assert isinstance(handle, Handle)
    return handle


def test_a_push_is_handled_and_its_answer_has_its_refs(session):
    join(session, join_ref="3")
    handle = push(session, join_ref="3")
    assert (handle.topic, handle.event, handle.payload) == ("open:1", "work", {"a": 1})
    assert sent(session.replied(handle, "ok", {"b": 2})) == [reply("3", "7", "open:1", "ok", {"b": 2})]


def test_a_push_without_a_join_ref_is_answered_with_that_of_its_channel(session):
    join(session, join_ref="3")
    assert sent(session.replied(push(session, join_ref=None), "error", {})) == [reply("3", "7", "open:1", "error")]


def test_a_binary_push_is_answered_by_a_binary_reply_if_the_response_is_one(session):
    join(session, join_ref=3)
    handle = push(session, join_ref="3", payload=b"\x01\x02")
    assert handle.payload == b"\x01\x02"
    (answer,) = session.replied(handle, "ok", b"\xff")
    assert answer.message == b"\x01\x01\x01\x06\x02" + b"37open:1ok" + b"\xff"


def test_a_handler_that_fails_ends_its_channel_alone(session):
    join(session)
    join(session, topic="open:2", join_ref="2")
    effects = session.crashed(push(session))
    assert sent(effects) == [["1", "1", "open:1", "phx_error", {"reason": "channel_crash"}]]
    assert others(effects) == [Unsubscribe("open:1")]
    assert session.topics == ["open:2"]


@pytest.mark.parametrize("rejoins", [False, True])
def test_the_answer_to_a_push_of_a_channel_that_is_gone_goes_to_nobody(session, rejoins):
    join(session)
    first, second, third = push(session), push(session), push(session)
    assert session.handles_still(first)
    session.receive(Frame("1", "8", "open:1", "phx_leave", {}))
    if rejoins:
        join(session)  # with the same refs, even
    assert session.replied(first, "ok", {}) == []
    assert session.crashed(second) == []
    assert not session.handles_still(third)
    session.abandoned(third)
    assert session.topics == (["open:1"] if rejoins else [])


def test_only_so_many_pushes_wait_for_their_answers(session):
    join(session)
    handles = [push(session) for _ in range(MAX_PUSHES)]
    refused = session.receive(Frame("1", "x", "open:1", "work", {}))
    assert sent(refused) == [reply("1", "x", "open:1", "error", {"reason": "too many pushes"})]
    session.replied(handles[0], "ok", {})
    push(session)


def test_a_response_that_cannot_be_sent_can_still_crash_its_channel(session):
    join(session, topic="open:" + "x" * 251)
    (handle,) = session.receive(Frame("1", "2", "open:" + "x" * 251, "work", b""))
    with pytest.raises(ValueError, match="do not fit"):
        session.replied(handle, "ok", b"")
    assert sent(session.crashed(handle))[0][3] == "phx_error"


def counted(number):
    return Broadcast("open:1", "news", '{"n":1}', Meta("e", number, "now"))


def resuming(session, payload):
    (request,) = session.receive(Frame("1", "1", "open:1", "phx_join", payload))
    assert isinstance(request, Subscribe)
    return request


def numbers_and_replays(effects):
    return [
        (payload["_meta"]["seq"], payload["_meta"].get("replayed", False))
        for *_, name, payload in sent(effects)
        if name == "news"
    ]


def test_what_was_missed_comes_between_the_answer_and_what_is_new_and_nothing_twice(session):
    request = resuming(session, {"resume": {"epoch": "e", "seq": 2}})
    for number in (4, 5):  # delivered as they came; the answer covers number 4
        assert session.broadcast(counted(number)) == []
    recovery = Recovery("e", 4, (counted(3), counted(4)))
    effects = session.subscribed(request, recovery)
    assert sent(effects)[0] == reply("1", "1", "open:1", "ok", recovery.reply())
    assert numbers_and_replays(effects) == [(3, True), (4, True), (5, False)]
    assert numbers_and_replays(session.broadcast(counted(6))) == [(6, False)]


def test_who_has_more_than_this_front_hears_of_the_next_one_first(session):
    request = resuming(session, {"resume": {"epoch": "e", "seq": 7}})
    session.subscribed(request, Recovery("e", 7))
    assert [numbers_and_replays(session.broadcast(counted(number))) for number in (6, 7, 8)] == [[], [], [(8, False)]]


def test_a_join_that_knows_nothing_of_positions_is_sent_events_as_phoenix_sends_them(session):
    join(session)
    assert sent(session.broadcast(counted(6))) == [[None, None, "open:1", "news", {"n": 1}]]


def test_states_are_for_those_who_asked_for_them(session):
    state = Broadcast("open:1", "balance", "{}", is_state=True)
    join(session)
    assert session.broadcast(state) == []
    session.subscribed(resuming(session, {"balances": True}))
    assert sent(session.broadcast(state)) == [[None, None, "open:1", "balance", {}]]


def test_a_join_that_is_not_understood_is_refused(session):
    (refused,) = sent(session.receive(Frame("1", "1", "open:1", "phx_join", {"resume": []})))
    assert refused[4] == {"status": "error", "response": {"reason": "bad_join", "detail": "resume must be an object"}}
    assert session.topics == []

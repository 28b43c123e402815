from __future__ import annotations

import json

import pytest

from bitnexus.actors.messages import TopicEvent
from bitnexus.http.channels import feed as feed_module
from bitnexus.http.channels.broadcast import Broadcast, Form, Meta
from bitnexus.http.channels.feed import (
    MAX_RECOVERED,
    MAX_WAITING,
    Ahead,
    Feed,
    Kept,
    Missing,
    NotRecovered,
    Recovery,
    TooManyWait,
    last_numbered,
)
from bitnexus.http.channels.resume import PLAIN, BadJoin, Place, Wishes, wishes_of
from bitnexus.http.channels.serializer import V1, V2

EPOCH = "e"


def event(seq, count=1, states=()):
    return TopicEvent("t", seq, f"at {seq}", (("news", f'{{"n":{seq}}}'),) * count, states)


def opened(position=10, number=5):
    feed = Feed()
    feed.subscribed(position)
    assert feed.numbered(EPOCH, number) == []
    return feed


def numbers(broadcasts):
    return [broadcast.meta.seq for broadcast in broadcasts if broadcast.meta]


def test_events_get_the_next_numbers_and_repetitions_none():
    feed = opened()
    assert numbers(feed.take(event(11))) == [6]
    assert numbers(feed.take(event(14, count=2))) == [7, 8]
    assert feed.take(event(14, count=2)) == feed.take(event(3)) == []
    assert numbers(feed.take(event(15))) == [9]


def test_states_are_told_and_do_not_count():
    feed = opened()
    news, state = feed.take(event(11, states=(("balance", "{}"),)))
    assert (numbers([news]), state.is_state, state.meta) == ([6], True, None)
    assert numbers(feed.take(event(12))) == [7]


def test_what_comes_while_it_is_counted_waits_and_what_was_counted_does_not_come_again():
    feed = Feed()
    assert feed.take(event(9)) == feed.take(event(11)) == []
    feed.subscribed(10)
    assert feed.take(event(12)) == feed.take(event(11)) == []
    assert numbers(feed.numbered(EPOCH, 5)) == [6, 7]


def test_more_than_may_wait_is_not_passed_over_in_silence():
    feed = Feed()
    feed.subscribed(0)
    for seq in range(1, MAX_WAITING + 2):
        assert feed.take(event(seq)) == []
    with pytest.raises(TooManyWait):
        feed.numbered(EPOCH, 0)


def test_who_missed_what_is_kept_gets_it():
    feed = opened()
    for seq in range(11, 15):
        feed.take(event(seq))
    found = feed.recover(Place(EPOCH, 7))
    assert isinstance(found, Recovery)
    assert (found.seq, numbers(found.missed)) == (9, [8, 9])
    assert found.reply() == {"resume": {"epoch": EPOCH, "seq": 9, "recovered": True, "count": 2}}
    nothing = feed.recover(Place(EPOCH, 9))
    assert isinstance(nothing, Recovery)
    assert nothing.missed == ()


def test_who_missed_more_than_is_kept_gets_it_with_what_came_while_it_was_read():
    feed = opened()
    feed.take(event(11))
    missing = feed.recover(Place(EPOCH, 3))
    assert missing == Missing(11, 6, 3)
    assert isinstance(missing, Missing)
    feed.take(event(12))
    read = [event(7, count=2), event(9), event(11)]
    found = feed.with_read(missing, read)
    assert found is not None
    assert (found.seq, numbers(found.missed)) == (7, [4, 5, 6, 7])
    assert [json.loads(each.payload)["n"] for each in found.missed] == [7, 9, 11, 12]
    again = feed.recover(Place(EPOCH, 3))
    assert isinstance(again, Recovery), "it is kept now"
    assert again.missed == found.missed


def test_what_was_let_go_while_it_was_read_is_looked_up_again():
    feed = opened()
    missing = feed.recover(Place(EPOCH, 4))
    assert isinstance(missing, Missing)
    feed.take(event(11))
    feed.forget()
    assert feed.with_read(missing, [event(10)]) is None


def test_queries_that_find_less_than_was_counted_are_a_fault():
    with pytest.raises(ValueError, match="3 events of a topic were counted, 2 were found"):
        last_numbered([event(1), event(2)], EPOCH, 2, 3)


def test_what_cannot_be_recovered_says_why():
    feed = opened(number=MAX_RECOVERED + 5)
    for after, reason in [
        (None, NotRecovered.NEW),
        (Place("other", 5), NotRecovered.EPOCH),
        (Place(EPOCH, 4), NotRecovered.TOO_MANY),
    ]:
        found = feed.recover(after)
        assert isinstance(found, Recovery)
        assert (found.reason, found.missed) == (reason, ())
        assert found.reply()["resume"] == {
            "epoch": EPOCH, "seq": MAX_RECOVERED + 5, "recovered": False, "count": 0, "reason": reason.value
        }  # fmt: skip


def test_who_has_seen_more_than_this_front_is_believed_if_the_log_says_so():
    feed = opened()
    assert feed.recover(Place(EPOCH, 7)) == Ahead(7)
    assert feed.is_there(7, 8) == Recovery(EPOCH, 7)
    assert feed.is_there(7, 6) == Recovery(EPOCH, 5, reason=NotRecovered.AHEAD)
    feed.take(event(11, count=2))
    assert feed.is_there(7, 8) is None, "by now this front has seen it as well"


def test_feeds_keep_so_much_together_and_the_oldest_lets_go():
    size = len(event(11).events[0][1])
    kept, feeds = Kept(4 * size), [opened() for _ in range(3)]
    for name, feed in enumerate(feeds):
        for seq in (11, 12):
            feed.take(event(seq))
            kept.changed(str(name), feed)
    assert [feed.kept for feed in feeds] == [0, 2 * size, 2 * size]
    assert len(kept) == 4 * size
    feeds[1].take(event(13))
    kept.changed("1", feeds[1])
    assert [feed.kept for feed in feeds] == [0, 3 * size, 0]
    kept.gone("1")
    kept.gone("1")
    assert len(kept) == 0


def test_a_feed_keeps_no_more_than_can_be_recovered(monkeypatch):
    monkeypatch.setattr(feed_module, "MAX_RECOVERED", 3)
    feed = opened()
    for seq in range(11, 20):
        feed.take(event(seq))
    assert feed.kept == 3 * len(event(11).events[0][1])
    assert isinstance(feed.recover(Place(EPOCH, 11)), Recovery)
    monkeypatch.setattr(feed_module, "MAX_RECOVERED", 4)
    assert feed.recover(Place(EPOCH, 10)) == Missing(19, 14, 4)


def test_what_is_too_long_for_a_clients_queue_is_not_recovered(monkeypatch):
    feed = opened()
    for seq in range(11, 14):
        feed.take(event(seq))
    monkeypatch.setattr(feed_module, "MAX_RECOVERED_SIZE", 2 * len(event(11).events[0][1]))
    found = [feed.recover(Place(EPOCH, after)) for after in (6, 5)]
    assert [isinstance(each, Recovery) and each.reason for each in found] == [None, NotRecovered.TOO_MANY]
    feed.take(event(14))
    missing = feed.recover(Place(EPOCH, 6))
    assert missing == Missing(14, 9, 3)
    assert isinstance(missing, Missing)
    read = feed.with_read(missing, [event(12), event(13), event(14)])
    assert read is not None
    assert (read.reason, read.missed) == (NotRecovered.TOO_MANY, ())


def test_an_event_is_encoded_once_for_all_readers_of_a_form():
    broadcast = Broadcast("t", "news", '{"n":1}', Meta(EPOCH, 3, "now"))
    assert json.loads(broadcast.text(V2())) == [None, None, "t", "news", {"n": 1}]
    meta = {"epoch": EPOCH, "seq": 3, "ts": "now"}
    assert json.loads(broadcast.text(V2(), Form.NUMBERED))[4] == {"n": 1, "_meta": meta}
    replayed = json.loads(broadcast.text(V1(), Form.REPLAYED))
    assert replayed["payload"] == {"n": 1, "_meta": {**meta, "replayed": True}}
    assert broadcast.text(V2(), Form.NUMBERED) is broadcast.text(V2(), Form.NUMBERED)
    assert json.loads(Broadcast("t", "news", "{}", Meta(EPOCH, 3, "now")).numbered()) == {"_meta": meta}
    assert Broadcast("t", "news", "{}").text(V2(), Form.NUMBERED) == '[null,null,"t","news",{}]'


def test_what_a_join_wishes_for():
    assert wishes_of({}) == wishes_of(b"x") == wishes_of({"token": "x", "resume": None}) == PLAIN
    assert wishes_of({"resume": {}}) == Wishes(numbered=True)
    assert wishes_of({"resume": {"epoch": "e", "seq": 0, "ts": "x"}}) == Wishes(numbered=True, after=Place("e", 0))
    assert wishes_of({"balances": True}) == Wishes(balances=True)
    for wrong in ({"seq": 1}, {"epoch": 1, "seq": 1}, {"epoch": "e", "seq": 2**53}, {"epoch": "e", "seq": 1.0}):
        with pytest.raises(BadJoin):
            wishes_of({"resume": wrong})

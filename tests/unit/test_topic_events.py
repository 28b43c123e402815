from __future__ import annotations

import json

import pytest

from bitnexus.actors.messages import AccountChanged, AccountOpened, Transfer, TransferAnnotated
from bitnexus.actors.notifier.events import notification_topic, topic_events, transaction_topic, user_of
from bitnexus.storage.ledger_rows import Annotated

OWNERS = {"a1": "ann", "a2": "ann", "b": "ben"}  # "world" has none
ALL = {topic(user) for user in ("ann", "ben") for topic in (transaction_topic, notification_topic)}


def transfer(debit="a1", credit="b", kind="post", asset="USD/2", **more):
    fields = ("t1", debit, credit, 5, asset, 0, "", "", "ann", 7, 1, 1_000_000, 95, 5, kind)
    return Transfer(*fields, more.get("pending_id", ""), more.get("reverses_id", ""))


def told(event, wanted=ALL):
    return {each.topic: [name for name, _ in each.events] for each in topic_events(event, OWNERS, wanted)}


def test_both_sides_of_a_transfer_hear_of_it_and_who_gets_it_is_notified():
    assert told(transfer()) == {
        "transaction:ann": ["new_transaction"],
        "transaction:ben": ["new_transaction"],
        "notification:ben": ["money_received"],
    }
    by_topic = {each.topic: each for each in topic_events(transfer(), OWNERS, ALL)}
    ann, ben = by_topic["transaction:ann"], by_topic["transaction:ben"]
    assert ann.events is ben.events, "encoded once"
    assert (ann.seq, ann.ts) == (7, "1970-01-01T00:00:01.000000Z")
    ((name, text),) = ann.states
    assert (name, json.loads(text)) == ("balance", {"account_id": "a1", "asset": "USD/2", "balance": 95, "seq": 7})
    assert json.loads(ben.states[0][1])["balance"] == 5
    notification = json.loads(by_topic["notification:ben"].events[0][1])
    assert (notification["type"], notification["account_id"]) == ("money_received", "b")
    assert notification["transaction"] == json.loads(ann.events[0][1])


def test_nobody_is_told_of_what_is_not_wanted_or_not_theirs():
    assert told(transfer(), {"transaction:ben"}) == {"transaction:ben": ["new_transaction"]}
    assert told(transfer("world", "nobodys")) == {}
    assert told(None) == told(AccountOpened("a1", "ann", "USD/2", 0, 1, 1, 1)) == {}


def test_who_pays_between_own_accounts_hears_of_it_once():
    assert told(transfer("a1", "a2")) == {
        "transaction:ann": ["new_transaction"],
        "notification:ann": ["money_received"],
    }
    (found,) = topic_events(transfer("a1", "a2"), OWNERS, {"transaction:ann"})
    assert [json.loads(text)["account_id"] for _, text in found.states] == ["a1", "a2"]


@pytest.mark.parametrize(
    ("kind", "to_ann", "to_ben", "status"),
    [
        ("pending", None, "payment_announced", None),
        ("post_pending", None, "money_received", "posted"),
        ("void_pending", None, "payment_withdrawn", "voided"),
        ("expire_pending", "payment_expired", "payment_expired", "expired"),
        ("reversal", "payment_reversed", "money_returned", "reversed"),
    ],
)
def test_what_becomes_of_a_transfer_is_told_to_both_and_notified_to_whom_it_concerns(kind, to_ann, to_ben, status):
    other = {"reverses_id": "t0"} if kind == "reversal" else {"pending_id": "t0"} if kind != "pending" else {}
    event = transfer(kind=kind, **other)
    names = ["new_transaction"] if status is None else ["new_transaction", "transaction_updated"]
    expected = {"transaction:ann": names, "transaction:ben": names, "notification:ben": [to_ben]}
    if to_ann is not None:
        expected["notification:ann"] = [to_ann]
    assert told(event) == expected
    if status is not None:
        found = next(each for each in topic_events(event, OWNERS, {"transaction:ann"}))
        assert json.loads(found.events[1][1]) == {"id": "t0", "status": status, "resolved_by": "t1"}


def test_units_of_a_product_are_bought():
    assert told(transfer("world", "b", asset="SKU:MUG-01/0")) == {
        "transaction:ben": ["new_transaction"],
        "notification:ben": ["product_bought"],
    }


@pytest.mark.parametrize("action", ["freeze", "unfreeze", "close"])
def test_the_owner_of_an_account_is_told_what_was_done_to_it(action):
    names = {"freeze": "account_frozen", "unfreeze": "account_unfrozen", "close": "account_closed"}
    assert told(AccountChanged("b", action, "admin", 9, 1, 1)) == {"notification:ben": [names[action]]}
    assert told(AccountChanged("world", action, "admin", 9, 1, 1)) == {}


def test_new_words_are_told_to_both_sides_once_it_is_known_whom_they_concern():
    words = TransferAnnotated("n", "t1", "rent", '{"a":1}', "ann", 9, 1, 1_000_000)
    assert told(words) == {}
    assert told(Annotated(words, "a1", "b")) == {
        "transaction:ann": ["transaction_updated"],
        "transaction:ben": ["transaction_updated"],
    }
    (found,) = topic_events(Annotated(words, "a1", "a2"), OWNERS, ALL)
    payload = json.loads(found.events[0][1])
    assert (payload["id"], payload["description"], payload["metadata"]) == ("t1", "rent", {"a": 1})
    assert (payload["annotated_seq"], found.states) == (9, ())


def test_a_topics_user():
    assert [user_of(topic) for topic in ("transaction:u", "notification:u", "admin:tree")] == ["u", "u", None]

"""Each way in which a history can be wrong is found; one that is right has nothing to complain about."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checks import check
from tests.chaos.history import Account, Balance, Books, History, Listening, Page, Row, Told, Trial

WORLD, ANN, BEN = "world", "ann-account", "ben-account"
TOPIC = "transaction:ann"
ROWS = (
    Row("fund", WORLD, ANN, 100, "USD/2", "post", seq=10, block=1),
    Row("t1", ANN, BEN, 30, "USD/2", "post", seq=11, block=2),
    Row("no", ANN, BEN, 999, "USD/2", "post", seq=12, block=2, refusal="exceeds_credits"),
    Row("hold", ANN, BEN, 20, "USD/2", "pending", seq=13, block=3),
    Row("take", ANN, BEN, 5, "USD/2", "post_pending", seq=14, block=3, pending_id="hold"),
    Row("t2", BEN, ANN, 1, "USD/2", "post", seq=15, block=4),
)
ACCOUNTS = (
    Account(WORLD, "", "USD/2", 100, 0, may_be_overdrawn=True),
    Account(ANN, "ann", "USD/2", 35, 101),
    Account(BEN, "ben", "USD/2", 1, 35),
)


def told(transfer_id: str, began_at: float, **changes: Any) -> Told:
    row = next(row for row in ROWS if row.transfer_id == transfer_id)
    place: dict[str, Any] = {"refusal": row.refusal} if row.refusal else {"seq": row.seq, "block": row.block}
    parties = row.debit_account_id, row.credit_account_id, row.amount
    return dataclasses.replace(Told("payer", row.transfer_id, *parties, began_at, began_at + 0.5, **place), **changes)


def a_history() -> History:
    return History(
        told=[
            told("t1", 1.0),
            told("no", 2.0),
            told("hold", 3.0),
            told("take", 4.0),
            told("t1", 5.0, is_new=False),
            told("t2", 6.0, client="other"),
        ],
        pages=[
            Page("payer", ANN, 11, 1.6, 1.7, 2, ((11, "t1", 70), (10, "fund", 100))),
            Page("payer", ANN, 15, 7.0, 7.1, 3, ((15, "t2", 66), (14, "take", 65), (13, "hold", 70))),
        ],
        balances=[Balance("payer", ANN, 13, 3.6, 3.7, 70), Balance("payer", BEN, 14, 6.0, 6.1, 35)],
        trials=[
            Trial("auditor", 13, 3.6, 3.7, balanced=True, posted=(("USD/2", 130, 130),), pending=(("USD/2", 20, 20),)),
            Trial("auditor", 15, 8.0, 8.1, balanced=True, posted=(("USD/2", 136, 136),), pending=(("USD/2", 0, 0),)),
        ],
        listenings=[
            Listening("ear", TOPIC, 0.5, heard=[11, 13]),
            Listening("ear", TOPIC, 3.9, heard=[14, 15], at_rest=True),
        ],
    )


def the_books() -> Books:
    return Books(ROWS, ACCOUNTS, 15)


def rules(history: History, books: Books) -> set[str]:
    return {violation.rule for violation in check(history, books)}


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert check(a_history(), the_books()) == []


def without(transfer_id: str) -> Books:
    return Books(tuple(row for row in ROWS if row.transfer_id != transfer_id), ACCOUNTS, 15)


def with_row(**changes: Any) -> Books:
    """The books with t1 recorded otherwise."""
    return Books(tuple(dataclasses.replace(r, **changes) if r.transfer_id == "t1" else r for r in ROWS), ACCOUNTS, 15)


@pytest.mark.parametrize(
    "books",
    [without("t1"), *(with_row(**{name: value}) for name, value in {
        "amount": 29, "seq": 9, "block": 3, "debit_account_id": BEN, "credit_account_id": ANN, "refusal": "overflow",
    }.items())],
    ids=["lost", "amount", "seq", "block", "debit", "credit", "refused"],
)  # fmt: skip
def test_an_acknowledged_transfer_that_is_lost_or_another_one_is_found(books: Books) -> None:
    assert "acknowledged" in rules(a_history(), books)


def test_a_lost_last_transfer_is_found_though_nothing_follows_it() -> None:
    history = History(told=[told("t2", 1.0)])
    assert "acknowledged" in rules(history, without("t2"))


def refused_as(refusal: str | None) -> Books:
    rows = tuple(dataclasses.replace(r, refusal=refusal) if r.transfer_id == "no" else r for r in ROWS)
    return Books(rows, ACCOUNTS, 15)


@pytest.mark.parametrize("books", [refused_as(None), refused_as("account_frozen"), without("no")])
def test_a_refusal_that_is_none_in_the_ledger_is_found(books: Books) -> None:
    assert "refused" in rules(History(told=[told("no", 2.0)]), books)


def test_a_refusal_that_could_be_none_later_must_be_recorded_and_others_need_not() -> None:
    assert rules(History(told=[told("no", 2.0)]), without("no")) == {"refused"}
    assert rules(History(told=[told("no", 2.0, refusal="pending_transfer_expired")]), without("no")) == set()
    assert rules(History(told=[told("no", 2.0, refusal="pending_transfer_expired")]), refused_as(None)) >= {"refused"}


def test_a_refusal_that_turned_into_success_is_found_although_the_ledger_has_the_success() -> None:
    history = a_history()
    history.told.append(told("no", 9.0, is_new=False, refusal=None, seq=16, block=5))
    found = check(history, the_books())
    assert any(each.rule == "refused" and "became" in each.words for each in found)


def test_an_id_with_two_places_in_the_log_is_found() -> None:
    doubled = Books((*ROWS, dataclasses.replace(ROWS[1], seq=16, block=5)), ACCOUNTS, 16)
    assert "each id once" in rules(History(), doubled)


def test_two_ids_with_one_place_are_found() -> None:
    doubled = Books((*ROWS, dataclasses.replace(ROWS[1], transfer_id="t3")), ACCOUNTS, 15)
    assert "each id once" in rules(History(), doubled)
    history = History(told=[told("t1", 1.0), told("t2", 2.0, client="other", seq=11)])
    assert "each id once" in rules(history, the_books())


def test_an_id_that_is_told_another_place_when_it_is_asked_for_again_is_found() -> None:
    history = History(told=[told("t1", 1.0), told("t1", 2.0, is_new=False, seq=14, block=3)])
    assert "each id once" in rules(history, the_books())


def test_a_later_command_of_a_user_that_stands_before_an_earlier_one_is_found() -> None:
    history = History(told=[told("take", 1.0), told("t1", 2.0)])
    assert rules(history, the_books()) == {"order"}
    history.told[1] = dataclasses.replace(history.told[1], is_new=False)  # a repeat stands where it always stood
    assert rules(history, the_books()) == set()


def test_a_read_that_goes_back_behind_an_earlier_read_is_found() -> None:
    history = History(balances=[Balance("reader", ANN, 13, 1.0, 1.1, 70), Balance("reader", ANN, 11, 2.0, 2.1, 70)])
    assert rules(history, the_books()) == {"forward"}
    # Reads of different kinds are of one client all the same.
    page = Page("reader", ANN, 11, 2.0, 2.1, 1, ((11, "t1", 70),))
    assert rules(History(balances=history.balances[:1], pages=[page]), the_books()) == {"forward"}


def test_a_read_that_does_not_show_what_its_client_was_acknowledged_before_is_found() -> None:
    history = History(told=[told("take", 1.0)], balances=[Balance("payer", ANN, 13, 2.0, 2.1, 70)])
    assert rules(history, the_books()) == {"forward"}
    history.balances[0] = dataclasses.replace(history.balances[0], began_at=1.2)  # under way at the same time
    assert rules(history, the_books()) == set()


@pytest.mark.parametrize(
    "entries",
    [
        ((11, "t1", 71), (10, "fund", 100)),
        ((11, "t1", 70),),
        ((10, "fund", 100), (11, "t1", 70)),
        ((11, "t1", 70), (10, "fund", 100), (9, "x", 0)),
        ((11, "tx", 70), (10, "fund", 100)),
    ],
)
def test_a_page_that_is_not_what_the_log_holds_is_found(entries: tuple[tuple[int, str, int], ...]) -> None:
    assert rules(History(pages=[Page("reader", ANN, 11, 1.0, 1.1, 2, entries)]), the_books()) == {"reads"}


def test_a_wrong_balance_is_found() -> None:
    assert rules(History(balances=[Balance("reader", ANN, 14, 1.0, 1.1, 70)]), the_books()) == {"reads"}


@pytest.mark.parametrize(
    "changes",
    [
        {"posted": (("USD/2", 130, 131),)},
        {"posted": (("USD/2", 131, 131),)},
        {"pending": (("USD/2", 20, 0),)},
        {"pending": (("USD/2", 0, 0),)},
        {"balanced": False},
    ],
)
def test_a_trial_balance_that_is_none_or_not_that_of_its_moment_is_found(changes: dict[str, Any]) -> None:
    trial = dataclasses.replace(a_history().trials[0], **changes)
    assert rules(History(trials=[trial]), the_books()) == {"conservation"}


def test_money_out_of_nothing_is_found() -> None:
    richer = (*ACCOUNTS[:1], dataclasses.replace(ACCOUNTS[1], credits_posted=102), ACCOUNTS[2])
    assert rules(History(), Books(ROWS, richer, 15)) == {"conservation"}


def test_an_account_that_the_log_does_not_explain_is_found_even_if_all_adds_up() -> None:
    moved = (ACCOUNTS[0], dataclasses.replace(ACCOUNTS[1], credits_posted=102),
             dataclasses.replace(ACCOUNTS[2], debits_posted=2))  # fmt: skip
    assert rules(History(), Books(ROWS, moved, 15)) == {"conservation"}


def test_a_transfer_of_more_than_was_there_is_found() -> None:
    spent = (*ROWS, Row("t3", ANN, BEN, 67, "USD/2", "post", seq=16, block=5))
    accounts = (ACCOUNTS[0], dataclasses.replace(ACCOUNTS[1], debits_posted=102),
                dataclasses.replace(ACCOUNTS[2], credits_posted=102))  # fmt: skip
    assert rules(History(), Books(spent, accounts, 16)) == {"conservation"}


@pytest.mark.parametrize(
    "changes",
    [
        {"heard": [11, 14]},  # a gap
        {"heard": [11, 13, 13]},
        {"heard": [13, 11]},
        {"heard": [11, 12, 13]},  # a refusal is no event
        {"heard": [11, 13], "at_rest": True},  # and then no more
        {"heard": [11, 13], "after": 9},  # the service said that 10 would come
        {"heard": [13]},  # 11 was asked for when the join had been answered
        {"heard": [], "at_rest": True},
    ],
)
def test_events_that_are_missing_doubled_or_out_of_order_are_found(changes: dict[str, Any]) -> None:
    history = a_history()
    history.listenings = [dataclasses.replace(history.listenings[0], **changes)]
    assert rules(history, the_books()) == {"events"}


def test_nothing_is_asked_of_a_connection_that_broke_before_anything_came() -> None:
    history = a_history()
    history.listenings = [Listening("ear", TOPIC, 0.5), Listening("ear", TOPIC, 8.0, at_rest=True)]
    assert rules(history, the_books()) == set()


def corrupted(change: Callable[[History], object]) -> set[str]:
    history = a_history()
    change(history)
    return rules(history, the_books())


def test_one_wrong_record_in_the_middle_of_a_right_history_is_found() -> None:
    assert corrupted(lambda h: h.told.__setitem__(3, told("take", 4.0, amount=6))) == {"acknowledged"}
    assert corrupted(lambda h: h.pages.__setitem__(1, dataclasses.replace(h.pages[1], as_of_seq=14))) >= {"reads"}
    assert corrupted(lambda h: h.listenings[1].heard.pop(0)) == {"events"}

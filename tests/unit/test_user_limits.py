"""What limits do to commands, one by one; any order of events is in property/test_limits_against_a_model.py."""

from __future__ import annotations

from uuid import UUID

import pytest

from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.ledger.commands import check_syntax
from bitnexus.actors.messages import (
    Limit,
    LimitsSet,
    PostTransfer,
    PostTransfers,
    Purchase,
    SetLimits,
    Transfer,
    TransferReceipts,
    TransferRequest,
    TransferResult,
    TransferResults,
)
from bitnexus.actors.transactions.allowance import DAY_US, DOUBT_US, Allowance
from bitnexus.actors.transactions.user import Answered, Outgoing, ToCaller, ToLedger, ToStorage, TransactionActor
from bitnexus.errors import BadRequest, CallTimeout, DatabaseUnavailable, Forbidden, TooManyInFlight

USD = "USD/2"
DAILY, AT_ONCE = "daily_limit_exceeded", "transfer_limit_exceeded"


class Clock:
    """A time that stands still until it is told to move."""

    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        return self.now_us


def known(
    per_transfer: int | None = None, per_day: int | None = None, *, spent: int = 0, version: int = 1
) -> LimitsSet:
    return LimitsSet("u1", version, [Limit(USD, per_transfer, per_day)], {USD: spent}, 0, 10)


def limited(limits: LimitsSet | None, clock: Clock | None = None, *, most: int = 64) -> TransactionActor[None]:
    return TransactionActor("u1", ("mine",), max_in_flight=most, clock=clock or Clock(), limits=limits)


def post(id_: str, amount: int, debit: str = "mine") -> PostTransfer:
    return PostTransfer("u1", "user", id_, debit, "theirs", amount, USD)


def batch(*amounts: int, linked: bool = False, brief: bool = False) -> PostTransfers:
    last = len(amounts) - 1
    transfers = [
        TransferRequest(f"b{at}", "mine", "theirs", amount, USD, linked=linked and at < last)
        for at, amount in enumerate(amounts)
    ]
    return PostTransfers("u1", "user", transfers, brief)


def passed(out: Outgoing):
    assert isinstance(out, ToLedger)
    return out.command


def posted(id_: str, amount: int, seq: int, day: int = 0) -> TransferResult:
    transfer = Transfer(id_, "mine", "theirs", amount, USD, 0, "", "", "u1", seq, 1, day * DAY_US + 1, 0, 0)
    return TransferResult(id_, transfer)


def answered(user: TransactionActor[None], command, result) -> ToCaller:
    out = user.receive(Answered(user, command, result), None)
    assert isinstance(out, ToCaller)
    return out


def spend(user: TransactionActor[None], id_: str, amount: int, seq: int, day: int = 0) -> None:
    answered(user, passed(user.receive(post(id_, amount), None)), posted(id_, amount, seq, day))


def test_what_is_within_the_limits_goes_to_the_ledger_as_it_came() -> None:
    command = post("t1", 50)
    assert limited(known(50, 50)).receive(command, None) == ToLedger(command)


@pytest.mark.parametrize(
    ("limits", "code"), [(known(49), AT_ONCE), (known(None, 100, spent=51), DAILY), (known(49, 0), AT_ONCE)]
)
def test_what_is_beyond_goes_there_in_its_turn_to_be_refused(limits: LimitsSet, code: str) -> None:
    user = limited(limits)
    command = passed(user.receive(post("t1", 50), None))
    assert command.refuse == code
    assert user.in_flight == 1


def test_a_refusal_counts_nothing_and_a_repeated_id_that_was_posted_once() -> None:
    user = limited(known(None, 100))
    answered(user, passed(user.receive(post("t1", 60), None)), TransferResult("t1", None, "exceeds_credits"))
    spend(user, "t2", 60, 11)
    again = passed(user.receive(post("t2", 60), None))
    assert again.refuse == DAILY
    answered(user, again, posted("t2", 60, 11))
    assert passed(user.receive(post("t3", 40), None)).refuse == ""


def test_the_next_day_begins_at_nought_by_the_clock_or_by_the_ledger() -> None:
    clock = Clock()
    user = limited(known(None, 100, spent=100), clock)
    assert passed(user.receive(post("t1", 1), None)).refuse == DAILY
    clock.now_us = DAY_US
    spend(user, "t2", 100, 12, day=1)
    assert passed(user.receive(post("t3", 1), None)).refuse == DAILY
    user = limited(known(None, 100))
    spend(user, "t1", 50, 11, day=1)  # the ledger's clock is ahead
    assert passed(user.receive(post("t2", 51), None)).refuse == DAILY


def test_nobody_makes_up_a_refusal() -> None:
    id_ = str(UUID(int=1))
    for code in ("", DAILY, AT_ONCE):
        check_syntax(PostTransfer(id_, "user", id_, id_, id_, 1, USD, refuse=code))
    with pytest.raises(BadRequest):
        check_syntax(PostTransfer(id_, "user", id_, id_, id_, 1, USD, refuse="exceeds_credits"))


def test_of_a_chain_beyond_the_limit_nothing_is_held() -> None:
    user = limited(known(None, 100))
    chain = passed(user.receive(batch(60, 60, 10, linked=True), None))
    assert [each.refuse for each in chain.transfers] == ["", DAILY, ""]
    assert passed(user.receive(post("t1", 100), None)).refuse == ""


def test_of_a_batch_each_transfer_is_refused_alone() -> None:
    user = limited(known(90, 100))
    command = passed(user.receive(batch(60, 95, 41, 40), None))
    assert [each.refuse for each in command.transfers] == ["", AT_ONCE, DAILY, ""]
    results = [posted("b0", 60, 11), TransferResult("b1", None, AT_ONCE), TransferResult("b2", None, DAILY)]
    answered(user, command, TransferResults([*results, posted("b3", 40, 12)]))
    assert passed(user.receive(post("t1", 1), None)).refuse == DAILY


def test_a_brief_batch_counts_by_its_receipts() -> None:
    user = limited(known(None, 100))
    command = passed(user.receive(batch(60, 40, brief=True), None))
    answered(user, command, TransferReceipts([11, 0], [1, 0], {1: "exceeds_credits"}, []))
    assert passed(user.receive(post("t1", 41), None)).refuse == DAILY
    assert passed(user.receive(post("t2", 40), None)).refuse == ""


def test_a_payment_for_a_purchase_is_limited() -> None:
    user = limited(known(None, 100))
    wanted = Purchase(
        "u1", "user", "00000000-0000-4000-8000-000000000001", "mine", "shop", 101, USD, "s", "u", 1, "SKU:A/0"
    )
    assert passed(user.receive(wanted, None)).refuse == DAILY


def test_what_the_house_s_accounts_pay_is_not() -> None:
    user = limited(known(0, 0))
    command = PostTransfers("u1", "admin", [TransferRequest("t1", world_account_id(USD), "mine", 5, USD)])
    assert user.receive(command, None) == ToLedger(command)


def test_what_is_in_doubt_stays_held_and_its_own_repetition_is_not_refused_for_it() -> None:
    clock = Clock()
    user = limited(known(None, 100), clock)
    command = passed(user.receive(post("t1", 80), None))
    assert answered(user, command, CallTimeout()).stale
    assert (user.in_flight, user.busy) == (0, True)
    assert passed(user.receive(post("t2", 21), None)).refuse == DAILY
    again = passed(user.receive(post("t1", 80), None))
    assert again.refuse == ""
    answered(user, again, posted("t1", 80, 11))
    assert passed(user.receive(post("t3", 21), None)).refuse == DAILY
    assert passed(user.receive(post("t4", 20), None)).refuse == ""


def test_it_is_not_rebuilt_while_what_was_given_up_may_be_committed() -> None:
    clock = Clock()
    user = limited(known(None, 100), clock)
    answered(user, passed(user.receive(post("t1", 80), None)), CallTimeout())
    seen = []
    for now_us in (DOUBT_US - 1, DOUBT_US):
        clock.now_us = now_us
        seen.append(user.busy)
    assert seen == [True, False]


def test_what_the_ledger_does_not_understand_is_let_go() -> None:
    user = limited(known(None, 100))
    assert not answered(user, passed(user.receive(post("t1", 80), None)), BadRequest()).stale
    assert passed(user.receive(post("t2", 100), None)).refuse == ""


def test_what_a_ledger_refuses_whose_predecessor_may_have_done_it_stays_held_until_the_actor_is_rebuilt() -> None:
    user = limited(known(None, 100))
    assert answered(user, passed(user.receive(post("t1", 80), None)), DatabaseUnavailable()).stale
    assert not user.busy
    assert passed(user.receive(post("t2", 21), None)).refuse == DAILY


def test_as_much_is_in_doubt_as_may_be_in_flight_and_can_be_asked_for_again() -> None:
    user = limited(known(None, 100), most=2)
    for id_ in ("t1", "t2"):
        answered(user, passed(user.receive(post(id_, 1), None)), CallTimeout())
    out = user.receive(post("t3", 1), None)
    assert isinstance(out, ToCaller)
    assert isinstance(out.result, TooManyInFlight)
    assert passed(user.receive(post("t2", 1), None)).refuse == ""


@pytest.mark.parametrize("role", ["user", "service"])
def test_only_an_admin_sets_limits(role: str) -> None:
    out = limited(None).receive(SetLimits("u1", role, "u1", []), None)
    assert isinstance(out, ToCaller)
    assert isinstance(out.result, Forbidden)


def test_limits_are_set_however_much_is_in_flight_and_hold_from_the_answer_on() -> None:
    user = limited(None, most=1)
    first = passed(user.receive(post("t1", 70), None))
    command = SetLimits("u1", "admin", "a1", [Limit(USD, None, 100)])
    assert user.receive(command, None) == ToStorage(command)
    answered(user, first, posted("t1", 70, 11))  # after the moment of which storage tells
    answered(user, command, known(None, 100))
    assert user.summary() == {"accounts": 1, "in_flight": 0, "limits": 1}
    assert passed(user.receive(post("t2", 31), None)).refuse == DAILY


def test_without_limits_nothing_of_them_is_left() -> None:
    user = limited(known(0, 0))
    command = SetLimits("u1", "admin", "a1", [])
    user.receive(command, None)
    answered(user, command, LimitsSet("u1", 2, [], {}, 0, -1))
    assert user.summary() == {"accounts": 1, "in_flight": 0}
    assert passed(user.receive(post("t1", 1), None)).refuse == ""


def test_limits_that_could_not_be_set_leave_those_that_are() -> None:
    user = limited(known(None, 100))
    command = SetLimits("u1", "admin", "a1", [])
    user.receive(command, None)
    assert answered(user, command, DatabaseUnavailable()).stale
    assert passed(user.receive(post("t1", 101), None)).refuse == DAILY


def test_two_changes_that_overtake_each_other_end_with_the_later_one() -> None:
    allowance = Allowance()
    for _ in range(2):
        allowance.begin_change()
    allowance.end_change(known(None, 5, version=9))
    allowance.end_change(known(None, 7, version=8))
    assert allowance.limits[USD].per_day == 5

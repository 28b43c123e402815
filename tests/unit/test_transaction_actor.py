"""The transaction actor's rules, message by message."""

from __future__ import annotations

import msgspec
import pytest

from bitnexus.actors.ledger.accounts import shop_account_id, stock_account_id, world_account_id
from bitnexus.actors.messages import (
    AccountOpened,
    AnnotateTransfer,
    ChangeAccount,
    CreateAccount,
    OpenAccount,
    PostTransfer,
    PostTransfers,
    Purchase,
    Transfer,
    TransferRequest,
    TransferResult,
    TransferResults,
)
from bitnexus.actors.transactions.user import (
    MAX_ACCOUNTS,
    Answered,
    Outgoing,
    ToCaller,
    ToLedger,
    TransactionActor,
)
from bitnexus.errors import BitNexusError, CallTimeout, Forbidden, NotFound, TooManyAccounts, TooManyInFlight

WORLD = world_account_id("USD/2")


def actor(*accounts: str, max_in_flight: int = 64) -> TransactionActor[None]:
    return TransactionActor("u1", accounts or ("mine",), max_in_flight=max_in_flight, clock=lambda: 0)


def post(debit: str = "mine", *, role: str = "user", transfer_id: str = "t1", asset: str = "USD/2") -> PostTransfer:
    return PostTransfer("u1", role, transfer_id, debit, "theirs", 100, asset)


def batch(*debits: str, role: str = "user", kind: str = "post") -> PostTransfers:
    return PostTransfers(
        "u1", role, [TransferRequest(f"t{n}", debit, "theirs", 1, "USD/2", kind) for n, debit in enumerate(debits)]
    )


def refusal(out: Outgoing) -> BitNexusError:
    assert isinstance(out, ToCaller)
    assert isinstance(out.result, BitNexusError)
    return out.result


def test_a_transfer_from_the_users_own_account_goes_to_the_ledger_as_it_came() -> None:
    command = post()
    assert actor().receive(command, None) == ToLedger(command)


def test_another_users_account_and_an_unknown_one_get_the_same_answer() -> None:
    foreign, unknown = (refusal(actor().receive(post(debit), None)) for debit in ("theirs", "nobodys"))
    assert type(foreign) is type(unknown) is NotFound
    assert foreign.detail == unknown.detail


def test_a_user_cannot_debit_the_world_and_learns_no_more_than_of_any_other_account() -> None:
    refused = refusal(actor().receive(post(WORLD), None))
    assert refused.detail == refusal(actor().receive(post("nobodys"), None)).detail


@pytest.mark.parametrize("account", [world_account_id, shop_account_id, stock_account_id])
@pytest.mark.parametrize("role", ["admin", "service"])
def test_an_admin_or_service_may_debit_the_house_s_accounts_of_the_asset(role: str, account) -> None:
    assert isinstance(actor().receive(post(account("USD/2"), role=role), None), ToLedger)
    assert isinstance(refusal(actor().receive(post(account("USD/2"), role="user"), None)), NotFound)
    assert isinstance(refusal(actor().receive(post(account("EUR/2"), role=role), None)), NotFound)


@pytest.mark.parametrize("role", ["admin", "service"])
def test_an_admin_or_service_may_not_debit_anybody_elses_account(role: str) -> None:
    assert isinstance(refusal(actor().receive(post("theirs", role=role), None)), NotFound)


def test_the_world_account_of_another_asset_is_refused() -> None:
    assert isinstance(refusal(actor().receive(post(WORLD, role="admin", asset="EUR/2"), None)), NotFound)


def test_too_many_commands_in_flight_are_refused_until_one_is_answered() -> None:
    user = actor(max_in_flight=2)
    first = post()
    assert isinstance(user.receive(first, None), ToLedger)
    assert isinstance(user.receive(post(), None), ToLedger)
    assert isinstance(refusal(user.receive(post(), None)), TooManyInFlight)
    result = TransferResult("t1", None, "exceeds_credits")
    assert user.receive(Answered(user, first, result), None) == ToCaller(result)
    assert isinstance(user.receive(post(), None), ToLedger)


def test_ownership_is_checked_before_the_bound_so_a_refusal_takes_no_place() -> None:
    user = actor(max_in_flight=1)
    assert isinstance(refusal(user.receive(post("theirs"), None)), NotFound)
    assert not user.busy


def test_it_is_busy_exactly_while_the_ledger_owes_an_answer() -> None:
    user = actor()
    command = post()
    seen = [user.busy]
    for message in (command, Answered(user, command, CallTimeout())):
        user.receive(message, None)
        seen.append(user.busy)
    assert seen == [False, True, False]


def test_an_answer_to_an_earlier_life_is_relayed_and_not_counted() -> None:
    before, now = actor(), actor()
    command = post()
    before.receive(command, None)
    assert isinstance(refusal(now.receive(Answered(before, command, CallTimeout()), None)), CallTimeout)
    assert now.in_flight == 0


def test_an_account_can_be_debited_once_it_is_opened() -> None:
    user = actor()
    command = OpenAccount("new", "u1", "USD/2")
    assert user.receive(command, None) == ToLedger(command)
    assert isinstance(refusal(user.receive(post("new"), None)), NotFound)
    opened = AccountOpened("new", "u1", "USD/2", 0, 7, 1, 0)
    assert user.receive(Answered(user, command, opened), None) == ToCaller(opened)
    assert isinstance(user.receive(post("new"), None), ToLedger)
    assert isinstance(user.receive(post("mine"), None), ToLedger)


def test_an_opening_without_a_true_answer_makes_the_actor_stale() -> None:
    user = actor()
    command = OpenAccount("new", "u1", "USD/2")
    user.receive(command, None)
    out = user.receive(Answered(user, command, CallTimeout()), None)
    assert isinstance(out, ToCaller)
    assert out.stale


def test_an_account_of_somebody_else_is_never_taken_in() -> None:
    user = actor()
    command = OpenAccount("new", "u1", "USD/2")
    user.receive(command, None)
    foreign = msgspec.structs.replace(AccountOpened("new", "u1", "USD/2", 0, 7, 1, 0), owner_id="u2")
    user.receive(Answered(user, command, foreign), None)
    assert isinstance(refusal(user.receive(post("new"), None)), NotFound)


def test_many_accounts_are_all_known() -> None:
    ids = [f"a{n}" for n in range(100)]
    user = actor(*ids)
    assert all(isinstance(user.receive(post(id_), None), ToLedger) for id_ in ids[:64])


def test_a_summary_counts_and_names_nothing() -> None:
    user = actor("a1", "a2")
    user.receive(post("a1"), None)
    assert user.summary() == {"accounts": 2, "in_flight": 1}


def test_a_batch_from_the_users_own_accounts_goes_to_the_ledger_as_it_came() -> None:
    command = batch("mine", "other", "mine")
    assert actor("mine", "other").receive(command, None) == ToLedger(command)


def test_a_batch_with_one_foreign_account_is_refused_as_a_whole_and_says_which() -> None:
    refused = refusal(actor().receive(batch("mine", "theirs", "mine"), None))
    assert isinstance(refused, NotFound)
    assert refused.detail == "Transfer 1: You have no such account to debit"


@pytest.mark.parametrize("role", ["admin", "service"])
@pytest.mark.parametrize("kind", ["post", "pending"])
def test_a_batch_gives_an_admin_or_service_no_account_that_a_single_transfer_does_not(role: str, kind: str) -> None:
    assert isinstance(actor().receive(batch("mine", WORLD, role=role, kind=kind), None), ToLedger)
    refused = refusal(actor().receive(batch("mine", WORLD, "theirs", role=role, kind=kind), None))
    assert isinstance(refused, NotFound)
    assert refused.detail == "Transfer 2: You have no such account to debit"


@pytest.mark.parametrize("kind", ["post_pending", "void_pending"])
@pytest.mark.parametrize(("role", "may"), [("user", False), ("service", True), ("admin", True)])
def test_an_admin_or_service_may_resolve_what_somebody_has_reserved(role: str, may: bool, kind: str) -> None:
    out = actor().receive(batch("theirs", role=role, kind=kind), None)
    assert isinstance(out, ToLedger) if may else isinstance(refusal(out), NotFound)


def test_an_admin_may_reverse_any_transfer() -> None:
    assert isinstance(actor().receive(batch("theirs", role="admin", kind="reversal"), None), ToLedger)


@pytest.mark.parametrize(("role", "may"), [("user", False), ("service", False), ("admin", True)])
def test_only_an_admin_may_reverse(role: str, may: bool) -> None:
    out = actor().receive(batch("mine", role=role, kind="reversal"), None)
    assert isinstance(out, ToLedger) if may else isinstance(refusal(out), Forbidden)


def test_a_batch_is_one_command_in_flight() -> None:
    user = actor(max_in_flight=1)
    command = batch("mine", "mine")
    user.receive(command, None)
    assert user.in_flight == 1
    assert isinstance(refusal(user.receive(post(), None)), TooManyInFlight)
    user.receive(Answered(user, command, CallTimeout()), None)
    assert not user.busy


@pytest.mark.parametrize(("role", "may"), [("user", False), ("service", False), ("admin", True)])
def test_only_an_admin_may_freeze(role: str, may: bool) -> None:
    out = actor().receive(ChangeAccount("u1", role, "mine", "freeze"), None)
    assert isinstance(out, ToLedger) if may else isinstance(refusal(out), Forbidden)


def test_a_user_has_so_many_accounts_and_no_more_but_may_ask_again_for_those() -> None:
    user = actor(*(f"a{n}" for n in range(MAX_ACCOUNTS)))
    for command in (OpenAccount("new", "u1", "USD/2"), CreateAccount("new", "u1", "USD/2", 0, 1)):
        assert isinstance(refusal(user.receive(command, None)), TooManyAccounts)
    assert isinstance(user.receive(OpenAccount("a1", "u1", "USD/2"), None), ToLedger)


@pytest.mark.parametrize(
    ("role", "debit", "may"), [("user", "mine", True), ("user", "theirs", False), ("admin", "theirs", True)]
)
def test_words_are_for_transfers_from_own_accounts_unless_an_admin_asks(role: str, debit: str, may: bool) -> None:
    out = actor().receive(AnnotateTransfer("u1", role, "a1", "t1", debit, "lunch"), None)
    assert isinstance(out, ToLedger) if may else isinstance(refusal(out), NotFound)


def buy(payer: str = "mine", *, role: str = "user") -> Purchase:
    return Purchase("u1", role, "p1", payer, "shop", 500, "USD/2", "stock", "units", 2, "SKU:MUG/0")


def results(*refusals: str | None) -> TransferResults:
    transfer = Transfer("p1", "mine", "shop", 500, "USD/2", 0, "", "", "u1", 7, 1, 0, 0, 0)
    return TransferResults([TransferResult("p1", None if each else transfer, each) for each in refusals])


def test_a_purchase_paid_from_an_own_account_goes_to_the_ledger_as_one_command() -> None:
    user, command = actor(), buy()
    assert user.receive(command, None) == ToLedger(command)
    assert user.in_flight == 1


@pytest.mark.parametrize("role", ["user", "service", "admin"])
def test_nobody_buys_with_another_s_account_nor_with_the_world_s(role: str) -> None:
    for payer in ("theirs", WORLD):
        assert isinstance(refusal(actor().receive(buy(payer, role=role), None)), NotFound)


def test_a_purchase_counts_among_the_commands_in_flight() -> None:
    user = actor(max_in_flight=1)
    command = buy()
    user.receive(command, None)
    assert isinstance(refusal(user.receive(buy(), None)), TooManyInFlight)
    answer = results(None, None)
    assert user.receive(Answered(user, command, answer), None) == ToCaller(answer)
    assert not user.busy


def test_bought_units_can_be_debited_and_those_that_were_not_bought_cannot() -> None:
    user, command = actor(), buy()
    for refusals in (("exceeds_credits", "linked_event_failed"), ("linked_event_failed", "exceeds_credits")):
        user.receive(command, None)
        assert user.receive(Answered(user, command, results(*refusals)), None) == ToCaller(results(*refusals))
        assert isinstance(refusal(user.receive(post("units"), None)), NotFound)
    user.receive(command, None)
    user.receive(Answered(user, command, results(None, None)), None)
    assert isinstance(user.receive(post("units"), None), ToLedger)


def test_a_purchase_without_a_true_answer_makes_the_actor_stale_unless_it_knows_the_account() -> None:
    for accounts, stale in ((("mine",), True), (("mine", "units"), False)):
        user, command = actor(*accounts), buy()
        user.receive(command, None)
        out = user.receive(Answered(user, command, CallTimeout()), None)
        assert isinstance(out, ToCaller)
        assert out.stale is stale


def test_a_purchase_that_may_open_an_account_is_refused_to_who_has_as_many_as_a_user_may_have() -> None:
    many = [f"a{n}" for n in range(MAX_ACCOUNTS - 1)]
    assert isinstance(refusal(actor("mine", *many).receive(buy(), None)), TooManyAccounts)
    assert isinstance(actor("mine", "units", *many).receive(buy(), None), ToLedger)

"""Double entry, one rule at a time; all of them together are in test_book_machine."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bitnexus.actors.ledger import rules
from bitnexus.actors.ledger.accounts import (
    CREDITS_MUST_NOT_EXCEED_DEBITS,
    DEBITS_MUST_NOT_EXCEED_CREDITS,
    MAX_AMOUNT,
    MAX_TOTAL,
    Account,
    canonical_uuid,
    is_asset,
    uuid_bytes,
    world_account_id,
)
from bitnexus.actors.ledger.blocks import decide
from bitnexus.actors.ledger.book import Book, InvariantBroken
from bitnexus.actors.ledger.commands import Item, Recorded, check_syntax
from bitnexus.actors.ledger.log import Head
from bitnexus.actors.messages import ChangeAccount, CreateAccount, PostTransfers, TransferRequest
from bitnexus.errors import REFUSALS, BadRequest
from tests.property.test_book_machine import NOBODY

WORLD = world_account_id("USD/2")
ALICE, BOB = str(UUID(int=1)), str(UUID(int=2))
OWNER = str(UUID(int=77))
AMOUNTS = st.one_of(st.integers(1, 20), st.sampled_from([MAX_AMOUNT, MAX_AMOUNT - 1]))


def request(
    debit: str, credit: str, amount: int, *, number: int = 1, asset: str = "USD/2", **fields
) -> TransferRequest:
    return TransferRequest(str(UUID(int=number)), debit, credit, amount, asset, **fields)


def move(book: Book, debit: str, credit: str, amount: int) -> str | None:
    return rules.post(book, request(debit, credit, amount), None, 0)


def book_of(*accounts: Account) -> Book:
    book = Book(100)
    for account in accounts:
        book.load(account)
    return book


@given(st.integers(0, MAX_TOTAL), AMOUNTS)
def test_totals_never_exceed_63_bits(debits, amount):
    world = Account(WORLD, owner_id="", asset="USD/2", flags=0, debits_posted=debits)
    book = book_of(world, Account(ALICE, owner_id=OWNER, asset="USD/2"))
    refusal = move(book, WORLD, ALICE, amount)
    assert refusal == ("overflow" if debits + amount > MAX_TOTAL else None)
    assert world.debits_posted == debits + (amount if refusal is None else 0)


def test_the_receiver_s_total_overflows_too():
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2", credits_posted=MAX_TOTAL - 4)
    book = book_of(Account(WORLD, owner_id="", asset="USD/2", flags=0), alice)
    assert move(book, WORLD, ALICE, 5) == "overflow"
    assert move(book, WORLD, ALICE, 4) is None


@given(st.integers(0, 50), st.integers(1, 50))
def test_a_user_spends_to_zero_and_not_below(balance, amount):
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2", credits_posted=balance)
    book = book_of(alice, Account(BOB, owner_id=OWNER, asset="USD/2"))
    assert move(book, ALICE, BOB, amount) == (None if amount <= balance else "exceeds_credits")
    assert alice.balance == (balance - amount if amount <= balance else balance)


def test_an_account_whose_credits_are_bound_refuses_more():
    bound = Account(BOB, owner_id=OWNER, asset="USD/2", flags=CREDITS_MUST_NOT_EXCEED_DEBITS, debits_posted=5)
    book = book_of(Account(WORLD, owner_id="", asset="USD/2", flags=0), bound)
    assert move(book, WORLD, BOB, 5) is None
    assert move(book, WORLD, BOB, 1) == "exceeds_debits"


def test_a_block_whose_sums_do_not_agree_is_never_accepted():
    world = Account(WORLD, owner_id="", asset="USD/2", flags=0)
    book = book_of(world, Account(ALICE, owner_id=OWNER, asset="USD/2"))
    move(book, WORLD, ALICE, 5)
    book.check({"USD/2": 5})
    with pytest.raises(InvariantBroken, match="moved"):
        book.check({"USD/2": 6})
    world.debits_posted += 1
    with pytest.raises(InvariantBroken, match="moved"):
        book.check({"USD/2": 5})


def test_a_negative_user_balance_is_never_accepted():
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2", flags=0)
    book = book_of(alice, Account(BOB, owner_id=OWNER, asset="USD/2"))
    move(book, ALICE, BOB, 5)
    alice.flags = DEBITS_MUST_NOT_EXCEED_CREDITS
    with pytest.raises(InvariantBroken, match="limit"):
        book.check({"USD/2": 5})


def test_an_account_is_not_loaded_over_the_one_in_memory():
    book = book_of(Account(ALICE, owner_id=OWNER, asset="USD/2"))
    with pytest.raises(InvariantBroken, match="loaded over"):
        book.load(Account(ALICE, owner_id=OWNER, asset="USD/2"))


@pytest.mark.parametrize("asset", ["USD/2", "SKU:MUG-01/0", "BTC/8", "X.y_z/18"])
def test_well_formed_assets_are_known(asset):
    assert is_asset(asset)


@pytest.mark.parametrize(
    "asset", ["", "USD", "usd/2", "USD/19", "USD/02", "USD/2\n", "ÜSD/2", "A" * 61 + "/2", "USD/-1"]
)
def test_malformed_assets_are_not(asset):
    assert not is_asset(asset)


@given(st.uuids())
def test_the_canonical_form_of_a_uuid_is_the_only_one(value):
    text = str(value)
    assert canonical_uuid(text)
    assert uuid_bytes(text) == value.bytes
    for other in (text.replace("-", ""), "{" + text + "}", text + "\n", text[:-1]):
        assert not canonical_uuid(other)


def test_world_accounts_keep_their_ids_for_ever():
    assert world_account_id("USD/2") == "fce859cb-5b74-5ccc-b0b3-47a8082427cc"
    assert world_account_id("USD/2") != world_account_id("USD/3")


# -- pending ----------------------------------------------------------------------------------------------------------


class Blocks:
    """One block per call, at a time of one's own; nothing has to be loaded."""

    def __init__(self, *accounts: Account) -> None:
        self.book = book_of(Account(WORLD, owner_id="", asset="USD/2", flags=0), *accounts)
        self.head = Head(time_us=1_000_000)
        self.recorded: dict[str, Recorded] = {}

    def run(self, command, now_us: int = 0):
        block = decide(
            self.book,
            self.head,
            [Item(command, NOBODY)],
            recent=self.recorded,
            looked_up={str(UUID(int=number)): None for number in range(100)},
            now_us=now_us,
            entropy=bytes(16 * 100),
        )
        self.recorded |= block.recorded
        for recorded in block.recorded.values():
            if recorded.refusal is None:
                self.book.subject(recorded.transfer.transfer_id) or self.book.add_subject(recorded.transfer)
        self.head = block.head
        self.book.seal()
        self.book.commit()
        return block.answers[0]

    def post(self, *requests: TransferRequest, now_us: int = 0) -> list[str | None]:
        return [result.refusal for result in self.run(PostTransfers(OWNER, "user", list(requests)), now_us).results]


def test_a_pending_amount_can_be_spent_by_nobody_until_it_is_released():
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2", credits_posted=10)
    ledger = Blocks(alice, Account(BOB, owner_id=OWNER, asset="USD/2"))
    assert ledger.post(request(ALICE, BOB, 7, kind="pending")) == [None]
    assert ledger.post(request(ALICE, BOB, 4, number=2)) == ["exceeds_credits"]
    assert ledger.post(request(BOB, ALICE, 1, number=3)) == ["exceeds_credits"]
    assert alice.balance == 10
    part = request(ALICE, BOB, 5, number=4, kind="post_pending", pending_id=str(UUID(int=1)))
    assert ledger.post(part) == [None]
    assert alice.totals == (5, 10, 0, 0, 0)
    assert ledger.post(request(ALICE, BOB, 5, number=5)) == [None], "the rest was released"


@pytest.mark.parametrize(("wait_us", "refusal"), [(1_999_999, None), (2_000_000, "pending_transfer_expired")])
def test_a_pending_transfer_can_be_posted_until_the_very_microsecond_of_its_expiry(wait_us, refusal):
    ledger = Blocks(Account(ALICE, owner_id=OWNER, asset="USD/2"))
    ledger.post(request(WORLD, ALICE, 5, kind="pending", timeout_s=2), now_us=2_000_000)
    end = request(WORLD, ALICE, 5, number=2, kind="post_pending", pending_id=str(UUID(int=1)))
    assert ledger.post(end, now_us=2_000_000 + wait_us) == [refusal]


def test_what_is_refused_because_it_has_expired_is_still_reserved_until_the_expiry_is_written():
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2", credits_posted=10)
    ledger = Blocks(alice)
    ledger.post(request(ALICE, WORLD, 10, kind="pending", timeout_s=1), now_us=2_000_000)
    assert ledger.post(request(ALICE, WORLD, 1, number=2), now_us=9_000_000) == ["exceeds_credits"]
    assert alice.debits_pending == 10


def test_a_credit_limit_extends_the_bound():
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2", credit_limit=5)
    book = book_of(alice, Account(BOB, owner_id=OWNER, asset="USD/2"))
    assert move(book, ALICE, BOB, 6) == "exceeds_credits"
    assert move(book, ALICE, BOB, 5) is None
    book.check({"USD/2": 5})


# -- chains -----------------------------------------------------------------------------------------------------------


def test_a_chain_s_members_see_what_those_before_them_did():
    ledger = Blocks(Account(ALICE, owner_id=OWNER, asset="USD/2"), Account(BOB, owner_id=OWNER, asset="USD/2"))
    chain = [
        request(WORLD, ALICE, 5, number=1, kind="pending", linked=True),
        request(WORLD, ALICE, 5, number=2, kind="post_pending", pending_id=str(UUID(int=1)), linked=True),
        request(ALICE, BOB, 5, number=3),
    ]
    assert ledger.post(*chain) == [None, None, None]


def test_a_broken_chain_leaves_nothing_behind_and_burns_its_ids():
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2")
    ledger = Blocks(alice, Account(BOB, owner_id=OWNER, asset="USD/2"))
    chain = [
        request(WORLD, ALICE, 5, linked=True),
        request(ALICE, BOB, 6, number=2, linked=True),
        request(WORLD, BOB, 1, number=3),
    ]
    expected = ["linked_event_failed", "exceeds_credits", "linked_event_failed"]
    assert ledger.post(*chain) == expected
    assert alice.totals == (0, 0, 0, 0, 0)
    ledger.post(request(WORLD, ALICE, 100, number=9))
    assert ledger.post(*chain) == expected, "though it could succeed now"
    assert ledger.post(request(WORLD, ALICE, 5)) == ["linked_event_failed"]


def test_a_chain_cannot_take_in_a_transfer_that_was_posted_alone():
    ledger = Blocks(Account(ALICE, owner_id=OWNER, asset="USD/2"))
    alone = request(WORLD, ALICE, 5)
    assert ledger.post(alone) == [None]
    assert ledger.post(request(WORLD, ALICE, 1, number=2, linked=True), alone) == [
        "linked_event_failed",
        "chain_id_taken",
    ]


# -- reversal, and the states of accounts ---------------------------------------------------------------


def test_a_transfer_is_reversed_once_and_by_a_new_transfer():
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2")
    ledger = Blocks(alice)
    ledger.post(request(WORLD, ALICE, 5))
    back = {"kind": "reversal", "reverses_id": str(UUID(int=1))}
    assert ledger.post(request(ALICE, WORLD, 4, number=2, **back)) == ["reversed_transfer_has_different_amount"]
    assert ledger.post(request(ALICE, WORLD, 5, number=2, **back)) == [None]
    assert ledger.post(request(ALICE, WORLD, 5, number=3, **back)) == ["reversed_transfer_already_reversed"]
    assert alice.totals == (5, 5, 0, 0, 0)


def test_a_frozen_account_moves_nothing_but_what_is_pending_can_be_voided():
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2", credits_posted=10)
    ledger = Blocks(alice)
    end = {"pending_id": str(UUID(int=1))}
    ledger.post(request(ALICE, WORLD, 5, kind="pending"))
    change = ChangeAccount(OWNER, "admin", ALICE, "freeze")
    first, again = ledger.run(change), ledger.run(change)
    assert (first.status, first.seq, again.status, again.seq) == ("frozen", 1, "frozen", -1)
    assert ledger.post(request(WORLD, ALICE, 1, number=2)) == ["account_frozen"]
    assert ledger.post(request(ALICE, WORLD, 5, number=3, kind="post_pending", **end)) == ["account_frozen"]
    assert ledger.post(request(ALICE, WORLD, 5, number=4, kind="void_pending", **end)) == [None]
    assert alice.totals == (0, 10, 0, 0, 1)


def test_an_account_is_closed_for_good_once_nothing_is_in_it():
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2", credits_posted=10)
    ledger = Blocks(alice)
    close = ChangeAccount(OWNER, "admin", ALICE, "close")
    assert ledger.run(close).code == "conflict"
    ledger.post(request(ALICE, WORLD, 10))
    assert ledger.run(close).status == "closed"
    assert ledger.run(ChangeAccount(OWNER, "admin", ALICE, "unfreeze")).code == "conflict"
    assert ledger.post(request(WORLD, ALICE, 1, number=2)) == ["account_closed"]


def test_every_refusal_has_a_sentence():
    assert set(REFUSALS) >= rules.BURNING
    assert all(refusal.message.endswith(".") for refusal in REFUSALS.values())


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "expire_pending"},
        {"timeout_s": -1},
        {"pending_id": "x"},
        {"pending_id": ALICE, "reverses_id": BOB},
        {"linked": True},
        {"amount": 0},
        {"asset": "usd"},
    ],
)
def test_malformed_batches_are_refused_before_they_are_looked_at(fields):
    good = request(WORLD, ALICE, 1)
    check_syntax(PostTransfers(OWNER, "user", [good]))
    bad = structs.replace(good, **fields)
    with pytest.raises(BadRequest):
        check_syntax(PostTransfers(OWNER, "user", [bad]))


def test_an_id_cannot_stand_twice_in_a_chain_but_in_a_batch():
    one = request(WORLD, ALICE, 1)
    check_syntax(PostTransfers(OWNER, "user", [one, one]))
    with pytest.raises(BadRequest):
        check_syntax(PostTransfers(OWNER, "user", [structs.replace(one, linked=True), one]))


@pytest.mark.parametrize(
    "command",
    [
        CreateAccount(ALICE, OWNER, "USD/2", 0, 4),
        CreateAccount(ALICE, OWNER, "USD/2", 0, 1, -1),
        CreateAccount(WORLD, "", "USD/2", 0, 1),
        ChangeAccount(OWNER, "admin", ALICE, "thaw"),
        ChangeAccount(OWNER, "admin", "x", "freeze"),
    ],
)
def test_malformed_commands_about_accounts_are_refused(command):
    with pytest.raises(BadRequest):
        check_syntax(command)

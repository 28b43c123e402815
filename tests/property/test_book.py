"""Double entry against a model that adds up all transfers anew each time."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bitnexus.actors.ledger.accounts import (
    CREDITS_MUST_NOT_EXCEED_DEBITS,
    DEBITS_MUST_NOT_EXCEED_CREDITS,
    MAX_AMOUNT,
    MAX_TOTAL,
    canonical_uuid,
    is_asset,
    uuid_bytes,
    world_account_id,
)
from bitnexus.actors.ledger.blocks import Block, decide
from bitnexus.actors.ledger.book import Account, Book, InvariantBroken
from bitnexus.actors.ledger.commands import Item, Recorded
from bitnexus.actors.ledger.log import Head
from bitnexus.actors.messages import AccountOpened, OpenAccount, PostTransfer, TransferResult
from bitnexus.errors import REFUSALS, Conflict

WORLD = world_account_id("USD/2")
ACCOUNTS = [WORLD, *(str(UUID(int=number)) for number in range(1, 6)), world_account_id("EUR/2")]
IDS = [str(UUID(int=1_000 + number)) for number in range(12)]
OWNER = str(UUID(int=77))
AMOUNTS = st.one_of(st.integers(1, 20), st.sampled_from([MAX_AMOUNT, MAX_AMOUNT - 1]))


class Nobody:
    """A caller who is never answered here."""

    expired = False

    def reply(self, message, /):
        raise AssertionError

    def fail(self, error, /):
        raise AssertionError


NOBODY = Nobody()

transfers = st.builds(
    PostTransfer,
    user_id=st.just(OWNER),
    role=st.just("user"),
    transfer_id=st.sampled_from(IDS),
    debit_account_id=st.sampled_from(ACCOUNTS),
    credit_account_id=st.sampled_from(ACCOUNTS),
    amount=AMOUNTS,
    asset=st.sampled_from(["USD/2", "USD/2", "USD/2", "EUR/2"]),
    code=st.sampled_from([0, 0, 1]),
    description=st.sampled_from(["", "", "rent"]),
    metadata=st.sampled_from(["", "", '{"a":1}']),
)
openings = st.builds(
    OpenAccount,
    account_id=st.sampled_from(ACCOUNTS[1:6]),
    owner_id=st.sampled_from([OWNER, OWNER, OWNER, str(UUID(int=78))]),
    asset=st.sampled_from(["USD/2", "USD/2", "USD/2", "EUR/2"]),
)


class Model:
    """The ledger as one would explain it: everything is found by looking through the list of what happened."""

    def __init__(self) -> None:
        self.accounts: dict[str, tuple[str, str, int]] = {WORLD: ("", "USD/2", 0), ACCOUNTS[-1]: ("", "EUR/2", 0)}
        self.results: dict[str, tuple[PostTransfer, str | None]] = {}

    def total(self, account_id: str, side: str) -> int:
        return sum(
            c.amount for c, refusal in self.results.values() if refusal is None and getattr(c, side) == account_id
        )

    def debits(self, account_id: str) -> int:
        return self.total(account_id, "debit_account_id")

    def credits(self, account_id: str) -> int:
        return self.total(account_id, "credit_account_id")

    def refusal(self, c: PostTransfer) -> str | None:  # noqa: PLR0911 - one return per refusal
        if c.debit_account_id == c.credit_account_id:
            return "accounts_must_be_different"
        if c.debit_account_id not in self.accounts:
            return "debit_account_not_found"
        if c.credit_account_id not in self.accounts:
            return "credit_account_not_found"
        if {self.accounts[c.debit_account_id][1], self.accounts[c.credit_account_id][1]} != {c.asset}:
            return "asset_mismatch"
        if max(self.debits(c.debit_account_id), self.credits(c.credit_account_id)) + c.amount > MAX_TOTAL:
            return "overflow"
        owned = self.accounts[c.debit_account_id][0] != ""
        if owned and self.debits(c.debit_account_id) + c.amount > self.credits(c.debit_account_id):
            return "exceeds_credits"
        return None

    def post(self, c: PostTransfer) -> tuple[str | None, bool]:
        """The refusal, and whether it is a replay."""
        if c.transfer_id in self.results:
            first, refusal = self.results[c.transfer_id]
            for field in (
                "debit_account_id",
                "credit_account_id",
                "amount",
                "asset",
                "code",
                "description",
                "metadata",
            ):
                if getattr(first, field) != getattr(c, field):
                    return f"exists_with_different_{field}", False
            return refusal, True
        refusal = self.refusal(c)
        if refusal not in {"accounts_must_be_different", "asset_mismatch"}:
            self.results[c.transfer_id] = (c, refusal)
        return refusal, False

    def open(self, c: OpenAccount) -> bool:
        return self.accounts.setdefault(c.account_id, (c.owner_id, c.asset, c.code)) == (c.owner_id, c.asset, c.code)


class Ledger(RuleBasedStateMachine):
    """Blocks of random commands, through a book that forgets and a memory of results that forgets."""

    @initialize(capacity=st.integers(0, 4))
    def start(self, capacity):
        self.model = Model()
        self.book = Book(capacity)
        self.head = Head()
        self.stored: dict[str, Account] = {}
        self.ids: dict[str, Recorded] = {}
        self.recent: dict[str, Recorded] = {}
        self.seqs: list[int] = []
        worlds = [
            Item(OpenAccount(id_, "", asset), NOBODY) for id_, asset in ((WORLD, "USD/2"), (ACCOUNTS[-1], "EUR/2"))
        ]
        self.commit(self.decide(worlds))

    def decide(self, items: list[Item]) -> Block:
        """What the writer does, with dictionaries for a database."""
        for command, _ in items:
            ids = (
                (command.debit_account_id, command.credit_account_id)
                if isinstance(command, PostTransfer)
                else (command.account_id,)
            )
            for id_ in ids:
                if id_ not in self.book and id_ in self.stored:
                    self.book.load(copy_of(self.stored[id_]))
        looked_up: dict[str, Recorded | None] = {}
        for _ in range(3):
            block = decide(
                self.book,
                self.head,
                items,
                recent=self.recent,
                looked_up=looked_up,
                now_us=0,
                entropy=bytes(16 * len(items)),
            )
            taken = set(block.recorded) & set(self.ids)
            if not block.guessed and not taken:
                return block
            self.book.rollback()
            looked_up |= {id_: self.ids.get(id_) for id_ in block.guessed or block.recorded}
        raise AssertionError("undecided after all its ids were looked up twice")

    def commit(self, block: Block) -> None:
        for account in block.opened:
            self.stored[account.id] = copy_of(account)
        for id_, debits, credited in block.totals:
            self.stored[id_].debits_posted, self.stored[id_].credits_posted = debits, credited
        self.ids |= block.recorded
        self.recent |= block.recorded
        self.head = block.head
        self.book.commit()

    @rule(commands=st.lists(st.one_of(transfers, transfers, transfers, openings), max_size=12), forget=st.booleans())
    def a_block_is_committed(self, commands, forget):
        if forget:
            self.recent.clear()
        block = self.decide([Item(command, NOBODY) for command in commands])
        for command, answer in zip(commands, block.answers, strict=True):
            if isinstance(command, OpenAccount):
                assert isinstance(answer, AccountOpened if self.model.open(command) else Conflict)
                continue
            assert isinstance(answer, TransferResult)
            refusal, replayed = self.model.post(command)
            assert (answer.refusal, answer.replayed) == (refusal, replayed)
            assert answer.refusal is None or answer.refusal in REFUSALS
            assert (answer.transfer is None) == (refusal is not None)
            if answer.transfer is not None and not replayed:
                assert answer.transfer.debit_balance == self.balance(command.debit_account_id)
                assert answer.transfer.credit_balance == self.balance(command.credit_account_id)
        seqs = sorted([r.transfer.seq for r in block.recorded.values()] + [a.opened_seq for a in block.opened])
        assert seqs == list(range(self.head.tree.size, block.head.tree.size))
        assert len(block.events) == len(seqs)
        self.commit(block)

    @rule(commands=st.lists(st.one_of(transfers, openings), min_size=1, max_size=8))
    def a_block_that_was_not_written_leaves_no_trace(self, commands):
        self.decide([Item(command, NOBODY) for command in commands])
        self.book.rollback()

    def balance(self, account_id: str) -> int:
        return self.model.credits(account_id) - self.model.debits(account_id)

    @invariant()
    def debits_are_credits_and_no_user_is_in_debt(self):
        for id_, (owner, asset, _) in self.model.accounts.items():
            for account in {id(a): a for a in (self.stored[id_], self.book.get(id_)) if a is not None}.values():
                assert (account.debits_posted, account.credits_posted, account.asset) == (
                    self.model.debits(id_),
                    self.model.credits(id_),
                    asset,
                )
                assert not owner or account.balance >= 0
        assert sum(a.balance for a in self.stored.values() if a.asset == "USD/2") == 0
        assert sum(a.balance for a in self.stored.values() if a.asset == "EUR/2") == 0

    @invariant()
    def the_book_forgets_what_is_above_its_capacity(self):
        assert len(self.book) <= max(self.book._capacity, 0) + len(ACCOUNTS)


def copy_of(account: Account) -> Account:
    return Account(
        account.id,
        owner_id=account.owner_id,
        asset=account.asset,
        code=account.code,
        flags=account.flags,
        debits_posted=account.debits_posted,
        credits_posted=account.credits_posted,
    )


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)


def book_of(*accounts: Account) -> Book:
    book = Book(100)
    for account in accounts:
        book.load(account)
    return book


ALICE, BOB = str(UUID(int=1)), str(UUID(int=2))


@given(st.integers(0, MAX_TOTAL), AMOUNTS)
def test_totals_never_exceed_63_bits(debits, amount):
    world = Account(WORLD, owner_id="", asset="USD/2", flags=0, debits_posted=debits)
    book = book_of(world, Account(ALICE, owner_id=OWNER, asset="USD/2"))
    refusal = book.post(WORLD, ALICE, amount, "USD/2")
    assert refusal == ("overflow" if debits + amount > MAX_TOTAL else None)
    assert world.debits_posted == debits + (amount if refusal is None else 0)


def test_the_receiver_s_total_overflows_too():
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2", credits_posted=MAX_TOTAL - 4)
    book = book_of(Account(WORLD, owner_id="", asset="USD/2", flags=0), alice)
    assert book.post(WORLD, ALICE, 5, "USD/2") == "overflow"
    assert book.post(WORLD, ALICE, 4, "USD/2") is None


@given(st.integers(0, 50), st.integers(1, 50))
def test_a_user_spends_to_zero_and_not_below(balance, amount):
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2", credits_posted=balance)
    book = book_of(alice, Account(BOB, owner_id=OWNER, asset="USD/2"))
    assert book.post(ALICE, BOB, amount, "USD/2") == (None if amount <= balance else "exceeds_credits")
    assert alice.balance == (balance - amount if amount <= balance else balance)


def test_an_account_whose_credits_are_bound_refuses_more():
    bound = Account(BOB, owner_id=OWNER, asset="USD/2", flags=CREDITS_MUST_NOT_EXCEED_DEBITS, debits_posted=5)
    book = book_of(Account(WORLD, owner_id="", asset="USD/2", flags=0), bound)
    assert book.post(WORLD, BOB, 5, "USD/2") is None
    assert book.post(WORLD, BOB, 1, "USD/2") == "exceeds_debits"


def test_a_block_whose_sums_do_not_agree_is_never_accepted():
    world = Account(WORLD, owner_id="", asset="USD/2", flags=0)
    book = book_of(world, Account(ALICE, owner_id=OWNER, asset="USD/2"))
    book.post(WORLD, ALICE, 5, "USD/2")
    book.check({"USD/2": 5})
    with pytest.raises(InvariantBroken, match="moved"):
        book.check({"USD/2": 6})
    world.debits_posted += 1
    with pytest.raises(InvariantBroken, match="moved"):
        book.check({"USD/2": 5})


def test_a_negative_user_balance_is_never_accepted():
    alice = Account(ALICE, owner_id=OWNER, asset="USD/2", flags=0)
    book = book_of(alice, Account(BOB, owner_id=OWNER, asset="USD/2"))
    book.post(ALICE, BOB, 5, "USD/2")
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

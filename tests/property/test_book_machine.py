"""Blocks of random commands against the naive model, through a book and a memory of results that forget."""

from __future__ import annotations

from uuid import UUID

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bitnexus.actors.ledger.accounts import MAX_AMOUNT, Account, expiry_id, world_account_id
from bitnexus.actors.ledger.block import Block
from bitnexus.actors.ledger.blocks import decide
from bitnexus.actors.ledger.book import Book, Subject
from bitnexus.actors.ledger.commands import Command, ExpirePending, Item, Recorded, check_syntax, transfers_of, weight
from bitnexus.actors.ledger.leaves import leaf_of_account, leaf_of_change, leaf_of_transfer
from bitnexus.actors.ledger.loading import needs_nothing
from bitnexus.actors.ledger.log import Head, leaf_hash
from bitnexus.actors.messages import (
    AccountOpened,
    AccountStatus,
    ChangeAccount,
    CreateAccount,
    OpenAccount,
    PostTransfer,
    PostTransfers,
    Purchase,
    TransferRequest,
    TransferResult,
    TransferResults,
)
from bitnexus.errors import REFUSALS, BadRequest, Conflict, NotFound
from tests.property.ledger_model import Model, Opened

USD, EUR = "USD/2", "EUR/2"
WORLD, EUR_WORLD = world_account_id(USD), world_account_id(EUR)
OWN = [str(UUID(int=number)) for number in range(1, 6)]
IDS = [str(UUID(int=1_000 + number)) for number in range(150)]
OWNER = str(UUID(int=77))
STOCK = str(UUID(int=40))
UNITS = [str(UUID(int=number)) for number in (41, 42, 43)]

AMOUNTS = [*range(1, 21), MAX_AMOUNT, MAX_AMOUNT - 1]
ACCOUNTS = [WORLD, WORLD, WORLD, *OWN, *OWN[:2], EUR_WORLD]
WHICH = ["transfer", "transfer", "batch", "batch", "open", "create", "change", "buy", "buy"]
KINDS = ["post", "post", "pending", "pending", "post_pending", "post_pending", "void_pending", "reversal"]
TOO_MUCH = [{"timeout_s": 1}, {"pending_id": IDS[0]}, {"reverses_id": IDS[1]}, {"pending_id": "", "reverses_id": ""}]


# Composites, because their representation is short: hypothesis prints strategies when it retries.
@st.composite
def basics(draw) -> dict:
    return {
        "transfer_id": draw(st.sampled_from(IDS if draw(st.integers(0, 7)) else IDS[:8])),
        "debit_account_id": draw(st.sampled_from(ACCOUNTS)),
        "credit_account_id": draw(st.sampled_from(ACCOUNTS)),
        "amount": draw(st.sampled_from(AMOUNTS)),
        "asset": draw(st.sampled_from([USD] * 8 + [EUR])),
        "code": draw(st.sampled_from([0, 0, 0, 0, 1])),
    }


@st.composite
def drafts_of_a_batch(draw) -> list:
    """Requests, whether each takes what it refers to for its fields, is linked, and has a field too many."""
    drafts = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(KINDS))
        more = {"kind": kind}
        if kind == "pending":
            more["timeout_s"] = draw(st.sampled_from([0, 1, 2]))
        elif kind != "post":
            more["reverses_id" if kind == "reversal" else "pending_id"] = draw(st.sampled_from(IDS))
        changed = draw(st.sampled_from(TOO_MUCH)) if draw(st.integers(0, 15)) == 15 else {}
        takes = draw(st.integers(0, 7)) < 7
        drafts.append((TransferRequest(**draw(basics()), **more), takes, draw(st.booleans()), changed))
    return drafts


@st.composite
def purchases(draw) -> Purchase:
    """Of units whose stock is unbounded, or empty at first; sometimes under an id that another command uses."""
    number = draw(st.integers(0, 11))
    return Purchase(
        OWNER,
        "user",
        IDS[number] if number < 2 else str(UUID(int=5_000 + number)),
        draw(st.sampled_from([*OWN[:2], *OWN[:2], WORLD, OWN[2]])),
        draw(st.sampled_from([WORLD, WORLD, OWN[0]])),
        draw(st.sampled_from([1, 2, 60, MAX_AMOUNT])),
        USD,
        draw(st.sampled_from([EUR_WORLD, EUR_WORLD, STOCK])),
        draw(st.sampled_from([*UNITS, *UNITS, *UNITS, OWN[4]])),
        draw(st.sampled_from([1, 2, 9])),
        EUR,
    )


@st.composite
def commands(draw, most: int = 6) -> list:
    made: list = []
    for _ in range(draw(st.integers(0, most))):
        which = draw(
            st.sampled_from(["transfer", "transfer", "batch", "batch", "open", "create", "change", "buy", "buy"])
        )
        if which == "transfer":
            made.append(PostTransfer(OWNER, "user", **draw(basics())))
        elif which == "batch":
            made.append(draw(drafts_of_a_batch()))
        elif which == "change":
            action = draw(st.sampled_from(["freeze", "unfreeze", "unfreeze", "unfreeze", "close"]))
            made.append(ChangeAccount(OWNER, "admin", draw(st.sampled_from([*OWN, *OWN, WORLD])), action))
        elif which == "buy":
            made.append(draw(purchases()))
        elif which == "open":
            made.append(OpenAccount(draw(st.sampled_from(OWN)), OWNER, draw(st.sampled_from([USD, USD, EUR]))))
        else:
            limit = draw(st.sampled_from([0, 7, MAX_AMOUNT]))
            owner = draw(st.sampled_from([OWNER, ""]))
            made.append(CreateAccount(draw(st.sampled_from(OWN)), owner, USD, 0, draw(st.integers(0, 3)), limit))
    return made


class Nobody:
    """A caller who is never answered here."""

    expired = False

    def reply(self, message, /):
        raise AssertionError

    def fail(self, error, /):
        raise AssertionError


NOBODY = Nobody()


class Ledger(RuleBasedStateMachine):
    """What the writer does, with dictionaries for a database."""

    @initialize(capacity=st.integers(0, 4))
    def start(self, capacity):
        self.model = Model()
        self.book = Book(capacity)
        self.head = Head()
        self.now_us = 1_000_000
        self.stored: dict[str, Account] = {}
        self.ids: dict[str, Recorded] = {}
        self.resolutions: dict[str, str] = {}
        self.recent: dict[str, Recorded] = {}
        self.commit(self.decide([OpenAccount(WORLD, "", USD), OpenAccount(EUR_WORLD, "", EUR)]))
        self.model.accounts = {WORLD: Opened("", USD, 0, 0, 0), EUR_WORLD: Opened("", EUR, 0, 0, 0)}
        self.model.open(STOCK, Opened("", EUR, 0, 1, 0))
        self.commit(self.decide([CreateAccount(STOCK, "", EUR, 0, 1)]))
        block = self.decide([OpenAccount(id_, OWNER, USD) for id_ in OWN[:2]])
        for id_ in OWN[:2]:
            self.model.open(id_, Opened(OWNER, USD, 0, 1, 0))
        self.commit(block)
        first: list[Command] = [PostTransfer(OWNER, "user", IDS[n], WORLD, OWN[n], 100, USD) for n in range(2)]
        first.append(PostTransfer(OWNER, "user", str(UUID(int=4_999)), EUR_WORLD, STOCK, 12, EUR))
        block = self.decide(first)
        for each, answer in zip(first, block.answers, strict=True):
            self.compare(each, answer, max(self.now_us, self.head.time_us + 1))
        self.commit(block)

    def refer(self, request: TransferRequest, takes: bool) -> TransferRequest:
        """The request, referring to a transfer that is there, if it wants to and there is one that fits."""
        field = "pending_id" if request.pending_id else "reverses_id"
        if not takes or not getattr(request, field):
            return request
        fits = {"pending"} if request.pending_id else {"post", "post_pending", "reversal"}
        there = [d.request.transfer_id for d in self.model.done if d.request and d.request.kind in fits]
        if not there:
            return request
        # The newest are referred to most: they may not be resolved yet.
        at = IDS.index(getattr(request, field)) % min(len(there), 6)
        return msgspec.structs.replace(request, **{field: there[-1 - at]})

    def complete(self, draft) -> TransferRequest:
        """The draft; if it wants to, with the fields of what it refers to."""
        request, takes, linked, changed = draft
        request = self.refer(request, takes)
        found = self.model.find(request.pending_id or request.reverses_id)
        if takes and found and found.request:
            other = found.request
            sides = (other.debit_account_id, other.credit_account_id)
            debit, credit = sides[::-1] if request.kind == "reversal" else sides
            amount = request.amount if request.kind == "post_pending" and request.amount % 2 else other.amount
            request = msgspec.structs.replace(
                request, debit_account_id=debit, credit_account_id=credit, asset=other.asset, amount=amount
            )
        return msgspec.structs.replace(request, linked=linked, **changed)

    def batch_of(self, drafts) -> PostTransfers | None:
        """A batch that the ledger takes, if the drafts make one."""
        made = [self.complete(draft) for draft in drafts]
        made[-1] = msgspec.structs.replace(made[-1], linked=False)
        batch = PostTransfers(OWNER, "user", made)
        try:
            check_syntax(batch)
        except BadRequest:
            return None
        return batch

    def commands_of(self, drafts) -> list[Command]:
        made = (self.batch_of(each) if isinstance(each, list) else each for each in drafts)
        return [each for each in made if each is not None]

    def load(self, asked: list[Command]) -> None:
        wanted: set[str] = set()
        for command in asked:
            names = list(command.transfer_ids) if isinstance(command, ExpirePending) else []
            for r in transfers_of(command):
                wanted |= {r.debit_account_id, r.credit_account_id}
                names.append(r.pending_id or r.reverses_id)
            if isinstance(command, OpenAccount | CreateAccount | ChangeAccount):
                wanted.add(command.account_id)
            for id_ in names:
                recorded = self.ids.get(id_)
                if recorded is None or recorded.refusal is not None:
                    continue
                if self.book.subject(id_) is None:
                    self.book.load_subject(Subject(recorded.transfer, self.resolutions.get(id_, "")))
                wanted |= {recorded.transfer.debit_account_id, recorded.transfer.credit_account_id}
        for id_ in wanted:
            if id_ not in self.book and id_ in self.stored:
                self.book.load(copy_of(self.stored[id_]))

    def decide(self, asked: list[Command]) -> Block:
        self.load(asked)
        looked_up: dict[str, Recorded | None] = {}
        for _ in range(3):
            block = decide(
                self.book,
                self.head,
                [Item(command, NOBODY) for command in asked],
                recent=self.recent,
                looked_up=looked_up,
                now_us=self.now_us,
                entropy=bytes(16 * sum(map(weight, asked))),
            )
            taken = set(block.recorded) & set(self.ids)
            if not block.guessed and not taken:
                return block
            self.book.rollback()
            looked_up |= {id_: self.ids.get(id_) for id_ in block.guessed | block.recorded.keys()}
        raise AssertionError("undecided after all its ids were looked up twice")

    def commit(self, block: Block, *, sealed: bool = False) -> None:
        recorded = block.recorded.values()
        leaves = {r.transfer.seq: leaf_of_transfer(r.transfer, r.refusal, bytes(16)) for r in recorded}
        leaves |= {a.opened_seq: leaf_of_account(a) for a in block.opened}
        leaves |= {c.seq: leaf_of_change(c, bytes(16)) for c in block.changes}
        assert sorted(leaves) == list(range(self.head.tree.size, block.head.tree.size))
        assert [leaf_hash(leaves[seq]) for seq in sorted(leaves)] == block.leaves, "as from the stored fields"
        assert len(block.events) == len(block.leaves)
        for account in block.opened:
            self.stored[account.id] = copy_of(account)
        for id_, *totals in block.totals:
            self.stored[id_].totals = (totals[0], totals[1], totals[2], totals[3], totals[4])
        for transfer, refusal in ((each.transfer, each.refusal) for each in recorded):
            subject = transfer.pending_id or transfer.reverses_id
            if subject and refusal is None:
                assert subject not in self.resolutions, "resolved once"
                self.resolutions[subject] = transfer.kind
        self.ids |= block.recorded
        self.recent |= block.recorded
        self.head = block.head
        if not sealed:
            self.book.seal()
        self.book.commit()

    @rule(drafts=commands(), forget=st.booleans(), later_us=st.sampled_from([0, 0, 400_000, 1_100_000]))
    def a_block_is_committed(self, drafts, forget, later_us):
        self.now_us += later_us
        if forget:
            self.recent.clear()
        asked = self.commands_of(drafts)
        block = self.decide(asked)
        time_us = max(self.now_us, self.head.time_us + 1)
        for command, answer in zip(asked, block.answers, strict=True):
            self.compare(command, answer, time_us)
        self.commit(block)

    def compare(self, command, answer, time_us):
        model = self.model
        if isinstance(command, PostTransfer):
            assert isinstance(answer, TransferResult)
            assert (answer.refusal, answer.replayed) == model.post(command, time_us)
            self.balances_are_told(answer)
        elif isinstance(command, PostTransfers):
            assert isinstance(answer, TransferResults)
            assert [result.refusal for result in answer.results] == model.batch(command.transfers, time_us)
            for result in answer.results:
                assert result.refusal is None or result.refusal in REFUSALS
                assert (result.transfer is None) == (result.refusal is not None)
        elif isinstance(command, Purchase):
            assert isinstance(answer, TransferResults)
            opened = Opened(command.user_id, command.units_asset, 0, 1, 0)
            expected_refusals = model.purchase(list(transfers_of(command)), command.units_account_id, opened, time_us)
            assert [result.refusal for result in answer.results] == expected_refusals
            payment, units = answer.results
            assert (payment.transfer is None) == (units.transfer is None) or payment.replayed or units.replayed
        elif isinstance(command, ChangeAccount):
            expected = model.change(command)
            if isinstance(answer, AccountStatus):
                assert answer.status == expected
            else:
                assert isinstance(answer, NotFound if expected == "not_found" else Conflict)
        else:
            flags = getattr(command, "flags", 1)
            opened = Opened(command.owner_id, command.asset, 0, flags, getattr(command, "credit_limit", 0))
            assert isinstance(answer, AccountOpened if model.open(command.account_id, opened) else Conflict)

    def balances_are_told(self, answer):
        transfer = answer.transfer
        if transfer is not None and not answer.replayed:
            for id_, told in (
                (transfer.debit_account_id, transfer.debit_balance),
                (transfer.credit_account_id, transfer.credit_balance),
            ):
                debits, credited, *_ = self.model.totals(id_)
                assert told == credited - debits

    @rule(later_us=st.sampled_from([0, 1_000_000]))
    def the_sweep_writes_what_has_expired(self, later_us):
        self.now_us += later_us
        ids = self.ids.items()
        due = tuple(id_ for id_, r in ids if r.refusal is None and r.transfer.kind == "pending")
        block = self.decide([ExpirePending(due)])
        gone = self.model.expire(due, max(self.now_us, self.head.time_us + 1))
        assert [t.pending_id for t in block.transfers] == gone
        assert [t.transfer_id for t in block.transfers] == [expiry_id(id_) for id_ in gone]
        self.commit(block)

    @rule(drafts=commands())
    def a_block_that_was_not_written_leaves_no_trace(self, drafts):
        self.decide(self.commands_of(drafts))
        self.book.rollback()

    @rule(drafts=commands(), more=commands(), fails=st.booleans())
    def a_block_is_decided_while_the_last_one_is_being_written(self, drafts, more, fails):
        asked, then = self.commands_of(drafts), self.commands_of(more)
        first = self.decide(asked)
        self.book.seal()
        items = [Item(command, NOBODY) for command in then]
        ahead = None
        if needs_nothing(self.book, items):
            ahead = decide(
                self.book,
                first.head,
                items,
                recent=self.recent,
                looked_up=first.recorded,
                now_us=self.now_us,
                entropy=bytes(16 * sum(map(weight, then))),
            )
            if ahead.guessed or set(ahead.recorded) & set(self.ids):
                self.book.drop()
                ahead = None
        if fails:
            self.book.rollback()
            return
        for block, commands_of_it in ((first, asked), (ahead, then)):
            if block is not None:
                time_us = max(self.now_us, self.head.time_us + 1)
                for command, answer in zip(commands_of_it, block.answers, strict=True):
                    self.compare(command, answer, time_us)
                self.commit(block, sealed=block is first)

    @invariant()
    def the_totals_are_those_of_the_model(self):
        self.model.check()
        for id_, opened in self.model.accounts.items():
            state = ["open", "frozen", "closed"].index(opened.state)
            for account in {id(a): a for a in (self.stored[id_], self.book.get(id_)) if a is not None}.values():
                assert account.totals == (*self.model.totals(id_), state)
                assert account.is_within_limits

    @invariant()
    def the_book_forgets_what_is_above_its_capacity(self):
        assert len(self.book) <= max(self.book._capacity, 0) + len(OWN) + 2 + 1 + len(UNITS)


def copy_of(account: Account) -> Account:
    copy = Account(
        account.id,
        owner_id=account.owner_id,
        asset=account.asset,
        code=account.code,
        flags=account.flags,
        credit_limit=account.credit_limit,
    )
    copy.totals = account.totals
    return copy


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=150, stateful_step_count=12, deadline=None)

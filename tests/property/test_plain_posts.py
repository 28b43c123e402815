"""Runs of plain transfers are decided in one loop: the block is the one that deciding each by itself makes."""

from __future__ import annotations

from unittest.mock import patch
from uuid import UUID

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bitnexus.actors.ledger.accounts import CLOSED, FROZEN, MAX_TOTAL, Account
from bitnexus.actors.ledger.block import Block
from bitnexus.actors.ledger.blocks import decide
from bitnexus.actors.ledger.book import Book
from bitnexus.actors.ledger.commands import Item, Recorded, check_syntax
from bitnexus.actors.ledger.leaves import leaf_of_transfer
from bitnexus.actors.ledger.loading import Sweeper
from bitnexus.actors.ledger.log import SALT_BYTES, Head, Tree, leaf_hash
from bitnexus.actors.ledger.recent import Recent
from bitnexus.actors.ledger.rules import Request
from bitnexus.actors.ledger.transfer_decisions import TransferDecisions
from bitnexus.actors.messages import PostTransfer, PostTransfers, TransferRequest, TransferResult
from bitnexus.errors import BadRequest

USERS = [str(UUID(int=900 + number)) for number in range(2)]
ACCOUNTS = [str(UUID(int=number)) for number in range(1, 9)]
IDS = st.integers(100, 107).map(lambda number: str(UUID(int=number)))
KNOWN = str(UUID(int=103))
LOOKED_UP = str(UUID(int=104))
#: What nearly all of them say.
USUAL = {
    "transfer_id": IDS,
    "debit_account_id": st.sampled_from(ACCOUNTS[:4]),
    "credit_account_id": st.sampled_from(ACCOUNTS[:4]),
    "amount": st.integers(1, 9),
    "asset": st.just("USD/2"),
    "code": st.sampled_from([0, 7]),
    "description": st.sampled_from(["", "", "rent"]),
    "metadata": st.sampled_from(["", "", '{"a":1}']),
}
#: What makes one another one, now and then.
UNUSUAL = {
    "debit_account_id": st.sampled_from(ACCOUNTS),
    "credit_account_id": st.sampled_from(ACCOUNTS),
    "amount": st.just(2**53 - 1),
    "asset": st.just("EUR/2"),
    "kind": st.sampled_from(["pending", "void_pending", "reversal"]),
    "pending_id": st.just(str(UUID(int=101))),
    "reverses_id": st.just(str(UUID(int=102))),
    "timeout_s": st.just(60),
    "linked": st.just(True),  # noqa: FBT003 - a value
    "refuse": st.just("daily_limit_exceeded"),
}
REQUESTS = st.one_of(
    st.builds(TransferRequest, **USUAL),
    st.sets(st.sampled_from(sorted(UNUSUAL)), min_size=1, max_size=2).flatmap(
        lambda names: st.builds(TransferRequest, **USUAL | {name: UNUSUAL[name] for name in names})
    ),
)


def book_of_all_sorts() -> Book:
    """The first four accounts can pay and be paid; then one that may not be paid more, and three of no use."""
    book = Book(100)
    for number, account_id in enumerate(ACCOUNTS):
        book.load(
            Account(
                account_id,
                owner_id=USERS[number % 2] if number != 3 else "",
                asset="EUR/2" if number == 7 else "USD/2",
                flags=2 if number == 4 else 0 if number == 3 else 1,
                credit_limit=10 if number == 1 else 0,
                credits_posted=MAX_TOTAL - 20 if number == 2 else 30,
                debits_posted=35 if number == 4 else 5,
                state={5: FROZEN, 6: CLOSED}.get(number, 0),
            )
        )
    return book


def batches(draws: list[tuple[str, list[TransferRequest]]]) -> list[PostTransfers | PostTransfer]:
    """The last one of a batch is not linked; a batch of one plain transfer is a single one."""
    made: list[PostTransfers | PostTransfer] = []
    for user, requests in draws:
        first, last = requests[0], requests[-1]
        if len(requests) == 1 and first.kind == "post":
            fields = {name: getattr(first, name) for name in PostTransfer.__struct_fields__[2:]}
            made.append(PostTransfer(user, "user", **fields))
        else:
            fields = {name: getattr(last, name) for name in last.__struct_fields__} | {"linked": False}
            made.append(PostTransfers(user, "user", [*requests[:-1], TransferRequest(**fields)]))
    return made


def decided(commands: list[PostTransfers | PostTransfer], *, known: bool) -> Block:
    """The block; on a ledger that has recorded two of the ids before, if so wished."""
    book, recent = book_of_all_sorts(), Recent(100)
    looked_up: dict[str, Recorded | None] = {LOOKED_UP: None}
    if known:
        debit, credit = ACCOUNTS[:2]
        earlier = [PostTransfer(USERS[0], "user", id_, debit, credit, 1, "USD/2") for id_ in (KNOWN, LOOKED_UP)]
        items = [Item(command, Sweeper()) for command in earlier]
        salts = bytes(SALT_BYTES * 2)
        made = decide(book, Head(), items, recent=recent, looked_up={}, now_us=1, entropy=salts)
        book.seal()
        book.commit()
        recent.add({KNOWN: made.recorded[KNOWN]})
        looked_up[LOOKED_UP] = made.recorded[LOOKED_UP]
    head = Head(5, bytes(32), Tree(3, (bytes(32), bytes(32))), bytes(32), 7)
    items = [Item(command, Sweeper()) for command in commands]
    salts = bytes(SALT_BYTES * 200)
    return decide(book, head, items, recent=recent, looked_up=looked_up, now_us=50, entropy=salts)


def alone_each(decisions: TransferDecisions, requests: list[Request], user_ids: list[str]) -> list[TransferResult]:
    """In the place of `posts`."""
    return [decisions.single(request, user_id) for request, user_id in zip(requests, user_ids, strict=True)]


def is_well_formed(command: PostTransfers | PostTransfer) -> bool:
    """Whether the ledger takes it."""
    try:
        check_syntax(command)
    except BadRequest:
        return False
    return True


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from(USERS), st.lists(REQUESTS, min_size=1, max_size=12)), min_size=1, max_size=6),
    st.booleans(),
)
def test_a_run_of_transfers_is_decided_as_each_of_them_alone(draws, known):
    commands = batches(draws)
    assume(all(map(is_well_formed, commands)))
    together = decided(commands, known=known)
    with patch.object(TransferDecisions, "posts", alone_each):
        alone = decided(commands, known=known)
    for name in together.__slots__:
        if name not in {"items", "plain"}:
            assert getattr(together, name) == getattr(alone, name), name
    assert together.plain or not alone.plain
    for transfer, refusal, salt, leaf in zip(
        together.transfers, together.refusals, together.salts, together.leaves, strict=True
    ):
        assert leaf == leaf_hash(leaf_of_transfer(transfer, refusal, salt))

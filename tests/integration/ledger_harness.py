"""A running writer for tests, and an auditor that recomputes the whole ledger from its rows."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any
from uuid import uuid4

import asyncpg

from bitnexus.actors.ledger import log
from bitnexus.actors.ledger.accounts import Account, world_account_id
from bitnexus.actors.ledger.commands import Command, Recorded
from bitnexus.actors.ledger.leaves import leaf_of_account, leaf_of_annotation, leaf_of_change, leaf_of_transfer
from bitnexus.actors.ledger.writer import Writer
from bitnexus.actors.messages import AccountChanged, BlockCommitted, OpenAccount, PostTransfer
from bitnexus.storage.ledger import ACCOUNT_COLUMNS, TRANSFER_COLUMNS, account_row, transfer_row
from bitnexus.storage.ledger_annotations import COLUMNS as ANNOTATION_COLUMNS
from bitnexus.storage.ledger_annotations import annotation_row
from bitnexus.storage.ledger_writer import LedgerConnection

ASSET = "USD/2"
WORLD = world_account_id(ASSET)
USER = str(uuid4())


class Caller:
    """One command's caller: it must be answered exactly once."""

    def __init__(self) -> None:
        self.answer = asyncio.get_running_loop().create_future()
        self.expired = False

    def reply(self, message, /):
        self.answer.set_result(message)

    def fail(self, error, /):
        self.answer.set_exception(error)


class RunningWriter:
    """A writer with its task, and the blocks that it told of."""

    def __init__(self, url: str, **options) -> None:
        self.committed: list[BlockCommitted] = []
        self.connections: list[LedgerConnection] = []
        self.url = url
        self.writer = Writer(self._connect, on_commit=self.committed.append, **options)
        self.task = asyncio.create_task(self.writer.run())
        self.task.add_done_callback(lambda task: print("writer ended:", task))  # noqa: T201 - why others wait

    async def _connect(self) -> LedgerConnection:
        self.connections.append(await LedgerConnection.open(self.url))
        return self.connections[-1]

    def submit(self, command: Command) -> Caller:
        caller = Caller()
        self.writer.submit(command, caller)
        return caller

    async def ask(self, command: Command) -> Any:
        answer = self.submit(command).answer
        await asyncio.wait([self.task, answer], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            await self.task
        return answer.result()

    async def open(self, *, owner: str = USER, asset: str = ASSET) -> str:
        account = str(uuid4())
        await self.ask(OpenAccount(account, owner, asset))
        return account

    async def fund(self, account: str, amount: int) -> None:
        assert (await self.ask(post(WORLD, account, amount))).refusal is None

    async def funded(self, count: int, amount: int = 1_000_000) -> list[str]:
        accounts = await asyncio.gather(*(self.open() for _ in range(count)))
        await asyncio.gather(*(self.fund(account, amount) for account in accounts))
        return accounts


@asynccontextmanager
async def running(url: str, **options) -> AsyncIterator[RunningWriter]:
    """A writer that takes commands; it is stopped in order at the end, or what ended it is raised."""
    writer = RunningWriter(url, **options)
    try:
        async with asyncio.timeout(10):
            await writer.writer.ready()
        yield writer
        writer.writer.stop()
        async with asyncio.timeout(10):
            await writer.task
    finally:
        writer.task.cancel()
        await asyncio.gather(writer.task, return_exceptions=True)


def between(chance: random.Random, accounts: list[str], amount: int) -> PostTransfer:
    """A transfer between two of the accounts."""
    debit, credit = chance.sample(accounts, 2)
    return post(debit, credit, amount)


def post(debit: str, credit: str, amount: int = 1, *, transfer_id: str | None = None, **fields) -> PostTransfer:
    return PostTransfer(
        USER, "user", transfer_id or str(uuid4()), debit, credit, amount, fields.pop("asset", ASSET), **fields
    )


async def audit(url: str) -> dict[str, int]:  # noqa: C901, PLR0912, PLR0915 - one check after the other
    """Recompute leaves, tree, chain and balances from what is stored; the balance of each account."""
    connection = await asyncpg.connect(url)
    try:
        accounts = [
            account_row(row) for row in await connection.fetch(f"SELECT {ACCOUNT_COLUMNS} FROM ledger_accounts a")
        ]
        transfers = await connection.fetch(f"SELECT {TRANSFER_COLUMNS}, t.salt FROM ledger_transfers t")
        changes = await connection.fetch("SELECT * FROM ledger_account_changes ORDER BY seq")
        annotations = await connection.fetch(f"SELECT {ANNOTATION_COLUMNS}, n.salt FROM ledger_annotations n")
        timers = {str(row[0]): row[1] for row in await connection.fetch("SELECT * FROM ledger_timers")}
        nodes = await connection.fetch("SELECT level, number, hash FROM ledger_nodes")
        blocks = await connection.fetch("SELECT * FROM ledger_blocks ORDER BY height")
    finally:
        await connection.close()
    leaves: dict[int, tuple[int, int, bytes]] = {}
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    states: dict[str, int] = defaultdict(int)
    for row in changes:
        action = {1: "freeze", 2: "unfreeze", 3: "close"}[row["action"]]
        place = (row["seq"], row["block"], row["time_us"])
        change = AccountChanged(str(row["account_id"]), action, str(row["user_id"]), *place)
        leaves[change.seq] = (change.block, change.time_us, leaf_of_change(change, row["salt"]))
        states[change.account_id] = {"freeze": 1, "unfreeze": 0, "close": 2}[action]
    for row in annotations:
        words = annotation_row(row)
        leaves[words.seq] = (words.block, words.time_us, leaf_of_annotation(words, row["salt"]))
    posted = []
    for a in accounts:
        account = Account(
            a.account_id, owner_id=a.owner_id, asset=a.asset, code=a.code, flags=a.flags,
            credit_limit=a.credit_limit, opened_seq=a.seq, opened_block=a.block, opened_us=a.time_us, salt=a.salt,
        )  # fmt: skip
        assert a.seq not in leaves
        leaves[a.seq] = (a.block, a.time_us, leaf_of_account(account))
    for row in transfers:
        recorded = Recorded(transfer_row(row), row["refusal"])
        t = recorded.transfer
        assert t.seq not in leaves
        leaves[t.seq] = (t.block, t.time_us, leaf_of_transfer(t, recorded.refusal, row["salt"]))
        if recorded.refusal is None:
            posted.append(t)
    assert sorted(leaves) == list(range(len(leaves)))
    by_id = {t.transfer_id: t for t in posted}
    open_ = {}
    for t in sorted(posted, key=lambda t: t.seq):
        if t.kind == "pending":
            open_[t.transfer_id] = t.expires_us
        if t.pending_id:
            del open_[t.pending_id]
        for side, id_ in enumerate((t.debit_account_id, t.credit_account_id)):
            totals[id_][side] += t.amount * (t.kind in {"post", "post_pending", "reversal"})
            totals[id_][2 + side] += t.amount * (t.kind == "pending")
            totals[id_][2 + side] -= by_id[t.pending_id].amount if t.pending_id else 0
        for id_, told in ((t.debit_account_id, t.debit_balance), (t.credit_account_id, t.credit_balance)):
            assert totals[id_][1] - totals[id_][0] == told
    assert timers == {id_: expires_us for id_, expires_us in open_.items() if expires_us}
    for a in accounts:
        found = [a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending]
        assert (found, a.state) == (totals[a.account_id], states[a.account_id])
    assert set(totals) <= {a.account_id for a in accounts}
    hashes, size, previous, time_us = [], 0, bytes(32), 0
    for height, block in enumerate(blocks, start=1):
        assert (block["height"], block["prev_hash"]) == (height, previous)
        assert block["tree_size"] > size
        assert block["time_us"] > time_us
        for seq in range(size, block["tree_size"]):
            stored_height, stored_us, leaf = leaves[seq]
            assert (stored_height, stored_us) == (height, block["time_us"])
            hashes.append(sha256(b"\x00" + leaf).digest())
        size, time_us = block["tree_size"], block["time_us"]
        root = naive_root(hashes) if height in {1, 2, len(blocks) // 2, len(blocks)} else block["tree_root"]
        assert block["tree_root"] == root
        previous = log.block_hash(height, previous, size, root, time_us)
        assert block["hash"] == previous
    assert size == len(leaves)
    expected: list[log.Node] = []
    log.Tree().extend(hashes, expected)
    assert sorted(map(tuple, nodes)) == sorted(expected)
    assert sum(a.balance for a in accounts) == 0
    return {a.account_id: a.balance for a in accounts}


def naive_root(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, over leaf hashes."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + naive_root(hashes[:k]) + naive_root(hashes[k:])).digest()

"""The single writer: gathers commands, decides them as one block, commits it, answers.

While one block is being committed the next one gathers; so blocks grow with the load and at rest a command is committed
at once. Nobody is answered before the commit. One task (:meth:`Writer.run`) does all of it, in order:

1. take the waiting commands, at most `max_block`, without those whose callers have given up;
2. load the accounts that are not in memory, in one query;
3. decide in memory (`blocks.decide`);
4. write the block in one round trip; answer; tell `on_commit`.

What can go wrong at 4, and what is true then:

- *An id is recorded already.* PostgreSQL has rolled the block back. Its ids are looked up, and the same commands are decided
  again with that knowledge.
- *The connection failed.* The block is there or not. The callers are kept, a new connection is made, and the height is
  read: our hash there means it was committed; nothing there means that it is decided again, and its earlier form is
  remembered, because the old connection's server process may still commit it: then writing the height fails, and its hash tells.
- *The height is taken by a hash that is not ours.* Another writer is at work: :class:`Fenced` ends this one.

While there is no connection, new commands are refused with `DatabaseUnavailable` before they are looked at, and so are
waiting ones as soon as one attempt to reconnect has failed.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from bitnexus import errors
from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.ledger.blocks import Block, Caller, Command, Item, Recorded, check_syntax, decide
from bitnexus.actors.ledger.book import Account, Book, InvariantBroken
from bitnexus.actors.ledger.log import SALT_BYTES, Head, Tree
from bitnexus.actors.messages import BlockCommitted, OpenAccount, PostTransfer
from bitnexus.actors.runtime.message import Message
from bitnexus.storage.ledger_rows import AccountRow, BlockRow, BlockToWrite
from bitnexus.storage.ledger_writer import HeightTaken, IdTaken, LedgerConnection, OutcomeUnknown

#: How many results are remembered, so that a repeated command is answered without asking the database.
RECENT_RESULTS: Final = 32_768
#: How many forms of one block are remembered while their outcome is unknown. An older one that is committed after all
#: looks like another writer's: the writer ends, and starts again from it.
MOST_ATTEMPTS: Final = 16
FIRST_RETRY_S: Final = 0.05
LONGEST_RETRY_S: Final = 1.0

Connect = Callable[[], Awaitable[LedgerConnection]]
_log = structlog.get_logger(__name__)


class Fenced(Exception):
    """Another writer has written to this ledger since its head was read: start again from what is there."""


class Writer:
    """The group-commit engine of the ledger.

    Args:
        connect: opens a connection or raises `DatabaseUnavailable`, within a bounded time.
        on_commit: told of each block after its callers have been answered.
        assets: those whose world accounts are to exist.
        max_block: most commands of one block.
        max_waiting: most commands that wait for the next blocks; more are refused with `Overloaded`.
        balance_cache: most accounts in memory between two blocks.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        on_commit: Callable[[BlockCommitted], None] = lambda _: None,
        assets: tuple[str, ...] = ("USD/2",),
        max_block: int = 8_192,
        max_waiting: int = 32_768,
        balance_cache: int = 100_000,
    ) -> None:
        self._connect = connect
        self._on_commit = on_commit
        self._assets = assets
        self._max_block = max_block
        self._max_waiting = max_waiting
        self._book = Book(balance_cache)
        self._head: Head | None = None
        self._recent: dict[str, Recorded] = {}
        self._attempts: dict[bytes, Block] = {}
        self._waiting: deque[Item] = deque()
        self._arrival = asyncio.Event()
        self._db: LedgerConnection | None = None
        self._stopping = False
        self._failures = 0
        self._ready = asyncio.Event()

    # -- the commands' side ----------------------------------------------------------------------------------

    def submit(self, command: Command, caller: Caller) -> None:
        """Take a command; `caller` is answered once its result is durable, or told why it was not begun.

        Raises:
            BadRequest, DatabaseUnavailable, Overloaded: nothing was done, and nothing will be.
        """
        if self._stopping:
            raise errors.Overloaded("The ledger is shutting down.")
        if self._db is None:
            raise errors.DatabaseUnavailable
        if len(self._waiting) >= self._max_waiting:
            raise errors.Overloaded("Too many commands wait for the ledger.")
        check_syntax(command)
        self._waiting.append(Item(command, caller))
        if not self._arrival.is_set():
            self._arrival.set()

    @property
    def head(self) -> Head:
        """The newest block that is known to be durable.

        Raises:
            DatabaseUnavailable: it has not been read yet.
        """
        if self._head is None:
            raise errors.DatabaseUnavailable
        return self._head

    @property
    def waiting(self) -> int:
        """How many commands wait for the next block."""
        return len(self._waiting)

    @property
    def available(self) -> bool:
        """Whether commands are taken."""
        return self._db is not None and not self._stopping

    async def ready(self) -> None:
        """Wait until commands are taken."""
        await self._ready.wait()

    def stop(self) -> None:
        """Take no more commands; :meth:`run` commits those that wait and returns."""
        self._stopping = True
        self._arrival.set()

    # -- the one task ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Commit blocks until :meth:`stop`. To be run once.

        Raises:
            Fenced, InvariantBroken: it must not go on; whoever was not answered does not know the outcome.
        """
        try:
            await self._reconnect()
            await self._open_world_accounts()
            while True:
                await self._arrival.wait()
                items = self._gather()
                if items:
                    await self._settle(items)
                elif self._stopping:
                    break
            if self._db is not None:
                db, self._db = self._db, None
                await db.close()
        except errors.DatabaseUnavailable as error:
            if not self._stopping:
                raise
            _log.warning("stopped without the database", cause=repr(error.__cause__))
        finally:
            self._ready.clear()
            if self._db is not None:
                self._db.abort()
                self._db = None

    def _gather(self) -> list[Item]:
        """The next block's commands, from callers who still wait for the answer."""
        waiting = self._waiting
        items: list[Item] = []
        while waiting and len(items) < self._max_block:
            item = waiting.popleft()
            if item.caller.expired:
                item.caller.fail(errors.CallTimeout("The deadline passed before the command was begun."))
            else:
                items.append(item)
        if not waiting and not self._stopping:
            self._arrival.clear()
        return items

    async def _settle(self, items: list[Item]) -> None:
        """Have the commands decided, committed and answered, whatever happens to the connection."""
        looked_up: dict[str, Recorded | None] = {}
        while items:
            try:
                block = await self._commit(items, looked_up)
            except (errors.DatabaseUnavailable, HeightTaken) as trouble:
                self._book.rollback()
                late = await self._reconnect(trouble, items)
                if late is None and isinstance(trouble, HeightTaken):
                    raise InvariantBroken("the next height is taken, but there is no such block") from trouble
                if late is not None:
                    self._answer(late, among={id(item) for item in items})
                    answered = {id(item) for item in late.items}
                    items = [item for item in items if id(item) not in answered]
            else:
                self._answer(block)
                return

    async def _commit(self, items: list[Item], looked_up: dict[str, Recorded | None]) -> Block:
        """Decide the commands on what is true, and write the block. `looked_up` is added to."""
        db, head = self._db, self._head
        if db is None or head is None:
            raise errors.DatabaseUnavailable
        await self._load_accounts(db, items)
        entropy = os.urandom(SALT_BYTES * len(items))
        while True:
            now_us = time.time_ns() // 1_000
            block = decide(
                self._book, head, tuple(items), recent=self._recent, looked_up=looked_up, now_us=now_us, entropy=entropy
            )
            unknown = block.guessed
            if not unknown:
                if block.head is head:
                    return block
                self._attempts[block.head.hash] = block
                if len(self._attempts) > MOST_ATTEMPTS:
                    del self._attempts[next(iter(self._attempts))]
                try:
                    await db.write(_to_write(block))
                    return block
                except IdTaken as taken:
                    del self._attempts[block.head.hash]
                    if self._attempts:
                        # An earlier form of this block, its outcome unknown until now, may be what took the id.
                        last = await db.last_block()
                        if last is not None and last.height > head.height:
                            raise HeightTaken from taken
                    unknown = {id_ for id_ in block.recorded if id_ not in looked_up}
                    if not unknown:
                        raise InvariantBroken("an id is taken that was looked up and not there") from taken
                except OutcomeUnknown:
                    raise
                except errors.DatabaseUnavailable:
                    del self._attempts[block.head.hash]
                    raise
            self._book.rollback()
            rows = await db.transfers(unknown)
            found = {row.transfer.transfer_id: Recorded(row.transfer, row.refusal) for row in rows}
            looked_up.update((id_, found.get(id_)) for id_ in unknown)
            self._remember(found)

    async def _load_accounts(self, db: LedgerConnection, items: list[Item]) -> None:
        book = self._book
        missing: set[str] = set()
        for command, _ in items:
            if isinstance(command, PostTransfer):
                if command.debit_account_id not in book:
                    missing.add(command.debit_account_id)
                if command.credit_account_id not in book:
                    missing.add(command.credit_account_id)
            elif command.account_id not in book:
                missing.add(command.account_id)
        if missing:
            for row in await db.accounts(missing):
                book.load(_account(row))

    def _answer(self, block: Block, among: set[int] | None = None) -> None:
        """The block is durable: make it the head, answer its callers, tell of it.

        `among`: the identities of the items that have not been given up, if some may have been.
        """
        self._failures = 0
        self._book.commit()
        if block.head is not self._head:
            self._head = block.head
            self._attempts.clear()
            self._remember(block.recorded)
        for item, answer in zip(block.items, block.answers, strict=True):
            if among is not None and id(item) not in among:
                continue
            if isinstance(answer, errors.BitNexusError):
                item.caller.fail(answer)
            else:
                item.caller.reply(answer)
        if block.events:
            self._on_commit(block.committed())

    def _remember(self, results: dict[str, Recorded]) -> None:
        recent = self._recent
        recent.update(results)
        surplus = len(recent) - RECENT_RESULTS
        if surplus > 0:
            for id_ in [id_ for id_, _ in zip(recent, range(surplus), strict=False)]:
                del recent[id_]

    # -- when the connection fails -----------------------------------------------------------------------------

    async def _reconnect(self, trouble: Exception | None = None, items: list[Item] | None = None) -> Block | None:
        """Connect, for as long as it takes, and find out what became of the block that was being written.

        Returns the block if it was committed. Meanwhile callers leave `items`, with an error, when their deadline
        passes, and all of them do if nothing of theirs was ever sent.
        """
        if self._db is not None:
            self._db.abort()
            self._db = None
            self._ready.clear()
            _log.warning("ledger connection given up", reason=repr(trouble), cause=repr(trouble and trouble.__cause__))
        while True:
            db: LedgerConnection | None = None
            try:
                if self._failures:
                    self._turn_away(items)
                    await asyncio.sleep(_backoff_s(self._failures))
                self._failures += 1
                db = await self._connect()
                late = self._resume(await db.last_block())
            except errors.DatabaseUnavailable as error:
                if db is not None:
                    db.abort()
                _log.warning("database unavailable", failures=self._failures, cause=repr(error.__cause__))
                if self._stopping:
                    raise
            except BaseException:
                if db is not None:
                    db.abort()
                raise
            else:
                self._db = db
                self._ready.set()
                if late is None and items:
                    self._drop_expired(items)
                return late

    def _turn_away(self, items: list[Item] | None) -> None:
        """The database is away: nobody is kept waiting whose command has certainly had no effect."""
        refused, self._waiting = self._waiting, deque()
        for item in refused:
            item.caller.fail(errors.DatabaseUnavailable())
        if items is None:
            return
        if self._attempts:
            self._drop_expired(items)
        else:
            for item in items:
                item.caller.fail(errors.DatabaseUnavailable())
            items.clear()

    def _drop_expired(self, items: list[Item]) -> None:
        """Give up commands whose callers no longer wait; they may have taken effect."""
        kept: list[Item] = []
        for item in items:
            if item.caller.expired:
                item.caller.fail(errors.CallTimeout())
            else:
                kept.append(item)
        items[:] = kept

    def _resume(self, last: BlockRow | None) -> Block | None:
        """Compare the database's head with ours; the block that was in doubt, if it is there.

        Raises:
            Fenced: it is neither.
        """
        found = Head() if last is None else _head(last)
        if self._head is None:
            self._head = found
        elif found.hash in self._attempts:
            # The balances in memory are those before that block; they are loaded again as they are needed.
            self._book.clear()
            return self._attempts[found.hash]
        elif found != self._head:
            raise Fenced(f"the last block is {found.height}, and not the one written here at {self._head.height}")
        return None

    async def _open_world_accounts(self) -> None:
        """Have the world accounts opened, if they are not there yet, before any other command."""
        missing = [_WorldAccount(asset) for asset in self._assets]
        while missing:
            await self._settle(
                [Item(OpenAccount(world_account_id(each.asset), "", each.asset), each) for each in missing]
            )
            missing = [each for each in missing if not each.is_open]


def _backoff_s(failures: int) -> float:
    longest_s = min(FIRST_RETRY_S * 2 ** min(failures - 1, 10), LONGEST_RETRY_S)
    return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


class _WorldAccount:
    """Waits for the opening of a world account."""

    expired = False

    def __init__(self, asset: str) -> None:
        self.asset = asset
        self.is_open = False

    def reply(self, message: Message, /) -> None:
        self.is_open = True

    def fail(self, error: errors.BitNexusError, /) -> None:
        if not isinstance(error, errors.DatabaseUnavailable):
            raise InvariantBroken(f"the world account of {self.asset}: {error.detail}")


def _head(row: BlockRow) -> Head:
    """The head as a block's row has it."""
    peaks = tuple(row.peaks[at : at + 32] for at in range(0, len(row.peaks), 32))
    head = Head(row.height, row.hash, Tree(row.tree_size, peaks), row.tree_root, row.time_us)
    if head.tree.root() != row.tree_root:
        raise InvariantBroken(f"block {row.height}: its peaks do not make its root")
    return head


def _account(row: AccountRow) -> Account:
    return Account(
        row.account_id,
        owner_id=row.owner_id,
        asset=row.asset,
        code=row.code,
        flags=row.flags,
        debits_posted=row.debits_posted,
        credits_posted=row.credits_posted,
        opened_seq=row.seq,
        opened_block=row.block,
        opened_us=row.time_us,
        salt=row.salt,
    )


def _to_write(block: Block) -> BlockToWrite:
    head = block.head
    peaks = b"".join(head.tree.peaks)
    row = BlockRow(head.height, block.before.hash, head.hash, head.tree.size, head.root, peaks, head.time_us)
    return BlockToWrite(row, block.transfers, block.refusals, block.salts, block.opened, block.totals)

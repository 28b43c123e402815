"""The single writer: gathers commands, decides them as one block, commits it, answers.

While one block is being committed the next one gathers; so blocks grow with the load and at rest a command is committed
at once. Nobody is answered before the commit. One task (:meth:`Writer.run`) does all of it, in order:

1. take the waiting commands, at most `max_block`, without those whose callers have given up;
2. load the accounts, and the transfers referred to, that are not in memory, in one query each;
3. decide in memory (`committer`, `blocks.decide`), of large blocks while the last one is being written (`ahead`);
4. write the block in one round trip; answer; tell `on_commit`: at once, unless the next block has been decided, which
   is sent before.

What can go wrong at 4, and what is true then:

- *An id is recorded already.* PostgreSQL has rolled the block back. Its ids are looked up, and the same commands are
  decided again with that knowledge.
- *The connection failed.* The block is there or not. The callers are kept, a new connection is made, and the height is
  read: our hash there means it was committed; nothing there means that it is decided again, and its earlier form is
  remembered, because the old connection's server process may still commit it: then writing the height fails, and its
  hash tells.
- *The height is taken by a hash that is not ours.* Another writer is at work: :class:`committer.Fenced` ends this one.

While there is no connection, new commands are refused with `DatabaseUnavailable` before they are looked at, and so are
waiting ones as soon as one attempt to reconnect has failed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from bitnexus import errors
from bitnexus.actors.ledger.block import Block
from bitnexus.actors.ledger.book import InvariantBroken
from bitnexus.actors.ledger.commands import Caller, Command, Item, Recorded
from bitnexus.actors.ledger.committer import Committer
from bitnexus.actors.ledger.intake import Intake
from bitnexus.actors.ledger.log import Head
from bitnexus.actors.ledger.world import WorldAccount, openings
from bitnexus.actors.messages import BlockCommitted
from bitnexus.storage.ledger_writer import HeightTaken, LedgerConnection

FIRST_RETRY_S: Final = 0.05
LONGEST_RETRY_S: Final = 1.0

Connect = Callable[[], Awaitable[LedgerConnection]]
_log = structlog.get_logger(__name__)


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
        self._intake = Intake(max_block=max_block, max_waiting=max_waiting)
        self._committer = Committer(self._intake, balance_cache=balance_cache, on_sent=self._tell)
        self._untold: Block | None = None  # it is durable, and nobody has been told
        self._db: LedgerConnection | None = None
        self._failures = 0
        self._ready = asyncio.Event()

    # -- the commands' side ----------------------------------------------------------------------------------

    def submit(self, command: Command, caller: Caller) -> None:
        """Take a command; `caller` is answered once its result is durable, or told why it was not begun.

        Raises:
            BadRequest, DatabaseUnavailable, Overloaded: nothing was done, and nothing will be.
        """
        if self._db is None:
            raise errors.DatabaseUnavailable
        self._intake.put(command, caller)

    @property
    def head(self) -> Head:
        """The newest block that is known to be durable.

        Raises:
            DatabaseUnavailable: it has not been read yet.
        """
        if self._committer.head is None:
            raise errors.DatabaseUnavailable
        return self._committer.head

    @property
    def waiting(self) -> int:
        """How many commands wait for the next block."""
        return len(self._intake) + len(self._committer.ahead.items)

    @property
    def decided_ahead(self) -> int:
        """How many blocks have been decided while the one before them was being written."""
        return self._committer.ahead.used

    @property
    def available(self) -> bool:
        """Whether commands are taken."""
        return self._db is not None and not self._intake.stopping

    async def ready(self) -> None:
        """Wait until commands are taken."""
        await self._ready.wait()

    def stop(self) -> None:
        """Take no more commands; :meth:`run` commits those that wait and returns."""
        self._intake.stop()

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
                items = self._committer.ahead.take()
                if not items:
                    self._tell()
                    items = await self._intake.take(self._until_sweep_s())
                if not items and self._intake.stopping:
                    break
                if items or self._until_sweep_s() == 0:
                    await self._settle(items)
            if self._db is not None:
                db, self._db = self._db, None
                await db.close()
        except errors.DatabaseUnavailable as error:
            if not self._intake.stopping:
                raise
            _log.warning("stopped_without_database", cause=repr(error.__cause__))
        finally:
            self._tell()
            self._ready.clear()
            if self._db is not None:
                self._db.abort()
                self._db = None

    async def _settle(self, items: list[Item]) -> None:
        """Have the commands decided, committed and answered, whatever happens to the connection."""
        looked_up: dict[str, Recorded | None] = {}
        while True:
            try:
                block = await self._committer.commit(self._db, items, looked_up)
            except (errors.DatabaseUnavailable, HeightTaken) as trouble:
                self._tell()
                self._committer.roll_back()
                late = await self._reconnect(trouble, items)
                if late is None and isinstance(trouble, HeightTaken):
                    raise InvariantBroken("the next height is taken, but there is no such block") from trouble
                if late is not None:
                    self._durable(late)
                    self._tell(among={id(item) for item in items})
                    answered = {id(item) for item in late.items}
                    items = [item for item in items if id(item) not in answered]
                if not items:
                    return
            else:
                self._durable(block)
                return

    def _until_sweep_s(self) -> float | None:
        """How long it is until a pending transfer expires; None if none will."""
        return None if self._db is None else self._committer.expiries.until_s()

    def _durable(self, block: Block) -> None:
        """The block is the head. It remains to be told."""
        self._tell()
        self._failures = 0
        self._untold = block

    def _tell(self, among: set[int] | None = None) -> None:
        """Answer the callers of the last durable block, and tell of it, unless that has been done.

        `among`: the identities of the items that have not been given up, if some may have been.
        """
        block, self._untold = self._untold, None
        if block is None:
            return
        for item, answer in zip(block.items, block.answers, strict=True):
            if among is not None and id(item) not in among:
                continue
            if isinstance(answer, errors.BitNexusError):
                item.caller.fail(answer)
            else:
                item.caller.reply(answer)
        if block.events:
            self._on_commit(block.committed())

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
            _log.warning("ledger_connection_given_up", reason=repr(trouble), cause=repr(trouble and trouble.__cause__))
        while True:
            if self._failures:
                self._turn_away(items)
                await asyncio.sleep(_backoff_s(self._failures))
            self._failures += 1
            try:
                self._db, late = await self._connect_and_compare()
            except errors.DatabaseUnavailable as error:
                _log.warning("database_unavailable", failures=self._failures, cause=repr(error.__cause__))
                if self._intake.stopping:
                    raise
            else:
                self._ready.set()
                if late is None and items:
                    self._drop_expired(items)
                return late

    async def _connect_and_compare(self) -> tuple[LedgerConnection, Block | None]:
        """A new connection, and the block that was in doubt, if it is there."""
        db = await self._connect()
        try:
            last, self._committer.expiries.next_us = await db.start()
            return db, self._committer.resume(last)
        except BaseException:
            db.abort()
            raise

    def _turn_away(self, items: list[Item] | None) -> None:
        """The database is away: nobody is kept waiting whose command has certainly had no effect."""
        self._committer.ahead.refuse(errors.DatabaseUnavailable())
        self._intake.refuse(errors.DatabaseUnavailable())
        if items is None:
            return
        if self._committer.in_doubt:
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

    async def _open_world_accounts(self) -> None:
        """Have the world accounts opened, if they are not there yet, before any other command."""
        missing = [WorldAccount(asset) for asset in self._assets]
        while missing:
            await self._settle(openings(missing))
            self._tell()
            missing = [each for each in missing if not each.is_open]


def _backoff_s(failures: int) -> float:
    longest_s = min(FIRST_RETRY_S * 2.0 ** min(failures - 1, 10), LONGEST_RETRY_S)
    return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

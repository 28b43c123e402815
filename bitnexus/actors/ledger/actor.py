"""The ledger process: the one writer of the log, behind its name."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Final

from prometheus_client import Counter, Gauge

from bitnexus.actors.ledger.writer import Writer
from bitnexus.actors.messages import BlockCommitted, GetHead, Head, OpenAccount, PostTransfer
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.actors.runtime.reasons import ExitReason
from bitnexus.config import get_settings
from bitnexus.storage.ledger_writer import LedgerConnection

NOTIFIER: Final = "notifier"
#: How long a start waits for the database.
READY_S: Final = 2.0

_blocks = Counter("bitnexus_ledger_blocks", "Blocks committed by this process")
_events = Counter("bitnexus_ledger_events", "Events committed by this process, refusals among them")
_waiting = Gauge("bitnexus_ledger_waiting_commands", "Commands that wait for the next block")


class Ledger(Process):
    """Answers PostTransfer, OpenAccount and GetHead; casts BlockCommitted to the notifier after each commit."""

    async def init(self) -> None:
        """Start the writer, and wait for the head; without a database, commands are refused until there is one."""
        settings = get_settings()
        if settings.database_url is None:
            raise RuntimeError("the database's address is not set")
        self._writer = Writer(
            partial(LedgerConnection.open, settings.database_url),
            on_commit=self._committed,
            assets=(settings.default_asset,),
            max_block=settings.max_block,
            balance_cache=settings.balance_cache,
        )
        _waiting.set_function(lambda: self._writer.waiting)
        # Fenced or InvariantBroken end the process: the next one reloads what is true.
        self._run = self.spawn(self._writer.run())
        # Calls are parked until this process has its name: after a restart none needs to be refused, as long as the
        # database is there.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._writer.ready(), READY_S)

    async def terminate(self, reason: ExitReason) -> None:  # noqa: ARG002 - it makes no difference here
        """Take no more commands, commit and answer those that wait."""
        self._writer.stop()
        await self._run

    @handles(PostTransfer)
    def post(self, message: PostTransfer, context: Context) -> None:
        """Answered with a TransferResult once it is durable."""
        self._writer.submit(message, context)

    @handles(OpenAccount)
    def open(self, message: OpenAccount, context: Context) -> None:
        """Answered with AccountOpened once it is durable."""
        self._writer.submit(message, context)

    @handles(GetHead, clients=True)
    def head(self, message: GetHead, context: Context) -> Head:  # noqa: ARG002 - a question without parameters
        """The newest committed block."""
        head = self._writer.head
        return Head(head.height, head.tree.size, head.root.hex(), head.hash.hex())

    def _committed(self, block: BlockCommitted) -> None:
        _blocks.inc()
        _events.inc(len(block.events))
        self.node.cast(NOTIFIER, block)

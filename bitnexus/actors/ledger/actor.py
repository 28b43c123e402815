"""The ledger process: the one writer of the log, behind its name."""

from __future__ import annotations

from functools import partial
from typing import Final

from prometheus_client import Counter, Gauge

from bitnexus.actors.ledger.archive import consistency_proof
from bitnexus.actors.ledger.checkpoint import Signer
from bitnexus.actors.ledger.node_filling import fill_nodes
from bitnexus.actors.ledger.notary import Notary
from bitnexus.actors.ledger.writer import Writer
from bitnexus.actors.messages import (
    AnnotateTransfer,
    BlockCommitted,
    ChangeAccount,
    CreateAccount,
    GetCheckpoint,
    GetHead,
    Head,
    OpenAccount,
    PostTransfer,
    PostTransfers,
    Purchase,
    SignedCheckpoint,
)
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.inspection_messages import Scalar
from bitnexus.actors.runtime.patience import wait_at_work
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.actors.runtime.reasons import ExitReason
from bitnexus.config import get_settings
from bitnexus.config.ledger_key import ledger_key
from bitnexus.storage.database import Database
from bitnexus.storage.ledger_writer import LedgerConnection

NOTIFIER: Final = "notifier"
#: How long a start waits for the database.
READY_S: Final = 2.0

_blocks = Counter("bitnexus_ledger_blocks", "Blocks committed by this process", registry=None)
_events = Counter("bitnexus_ledger_events", "Events committed by this process, refusals among them", registry=None)
_ahead = Gauge("bitnexus_ledger_blocks_ahead", "Blocks decided while the one before them was being written")
_waiting = Gauge("bitnexus_ledger_waiting_commands", "Commands that wait for the next block", registry=None)


class Ledger(Process):
    """Answers PostTransfer(s), Purchase, AnnotateTransfer, Open-, Create-, ChangeAccount, GetHead and GetCheckpoint.

    Casts BlockCommitted to the notifier after each commit.
    """

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
        # For reads, and for nodes older than their table; blocks go through the writer's own connection.
        self._database = await Database.connect(settings.database_url, pool_size=1, process=self.name)
        signer = Signer(settings.log_origin, ledger_key(settings))
        self._verifier_key = signer.verifier.text
        self._notary = Notary(signer, settings.data_dir, self._prove)
        self.expose(_blocks, _events, _waiting)
        _waiting.set_function(lambda: self._writer.waiting)
        _ahead.set_function(lambda: self._writer.decided_ahead)
        # Fenced or InvariantBroken end the process: the next one reloads what is true.
        self._run = self.spawn(self._writer.run())
        self._filling = self.spawn(fill_nodes(self._database))
        # Calls are parked until this process has its name: after a restart none needs to be refused, as long as the
        # database is there.
        await wait_at_work(self._writer.ready, READY_S)

    async def terminate(self, reason: ExitReason) -> None:  # noqa: ARG002 - it makes no difference here
        """Take no more commands, commit and answer those that wait."""
        self._writer.stop()
        await self._run
        self._filling.cancel()
        await self._database.close()

    @handles(PostTransfer)
    def post(self, message: PostTransfer, context: Context) -> None:
        """Answered with a TransferResult once it is durable."""
        self._writer.submit(message, context)

    @handles(OpenAccount)
    def open(self, message: OpenAccount, context: Context) -> None:
        """Answered with AccountOpened once it is durable."""
        self._writer.submit(message, context)

    @handles(PostTransfers)
    def post_all(self, message: PostTransfers, context: Context) -> None:
        """Answered with TransferResults once they are durable."""
        self._writer.submit(message, context)

    @handles(Purchase)
    def buy(self, message: Purchase, context: Context) -> None:
        """Answered with TransferResults once they are durable."""
        self._writer.submit(message, context)

    @handles(CreateAccount)
    def create(self, message: CreateAccount, context: Context) -> None:
        """Answered with AccountOpened once it is durable."""
        self._writer.submit(message, context)

    @handles(ChangeAccount)
    def change(self, message: ChangeAccount, context: Context) -> None:
        """Answered with AccountStatus once it is durable."""
        self._writer.submit(message, context)

    @handles(AnnotateTransfer)
    def annotate(self, message: AnnotateTransfer, context: Context) -> None:
        """Answered with TransferAnnotated once it is durable."""
        self._writer.submit(message, context)

    @handles(GetHead, clients=True)
    def head(self, message: GetHead, context: Context) -> Head:  # noqa: ARG002 - a question without parameters
        """The newest committed block."""
        head = self._writer.head
        return Head(head.height, head.tree.size, head.root.hex(), head.hash.hex())

    @handles(GetCheckpoint)
    async def checkpoint(self, message: GetCheckpoint, context: Context) -> SignedCheckpoint:  # noqa: ARG002 - as above
        """The newest committed tree, signed."""
        note = await self._notary.checkpoint(self._writer.head)
        return SignedCheckpoint(note, self._verifier_key)

    def summary(self) -> dict[str, Scalar]:
        """Where the log stands, and what waits."""
        if not self._writer.available:
            return {"available": False, "waiting": self._writer.waiting}
        head = self._writer.head
        return {
            "available": True,
            "waiting": self._writer.waiting,
            "height": head.height,
            "events": head.tree.size,
            "root": head.root.hex(),
        }

    async def _prove(self, old: int, new: int) -> list[bytes]:
        async with self._database.connection() as connection:
            return await consistency_proof(connection, old, new)

    def _committed(self, block: BlockCommitted) -> None:
        _blocks.inc()
        _events.inc(len(block.events))
        self.node.cast(NOTIFIER, block)

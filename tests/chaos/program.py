"""The service as it is, but that it can be broken from within: ``python -m tests.chaos.program`` in place of run.py.

- The actor of a user who posts a transfer described as :data:`POISON` raises.
- Its wall clock is that of the file in CHAOS_CLOCK.
- A process that gets SIGUSR2 is blocked for :data:`BLOCK_S`: its loop's thread sleeps, whatever it was doing. It
  writes a line ``blocked`` to its log, so that somebody can see that it was.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any, Final

import structlog

if __name__ == "__main__":
    from tests.chaos import clock

    clock.take(Path(os.environ["CHAOS_CLOCK"]))  # before anybody remembers the true one

from bitnexus import application
from bitnexus.actors.messages import PostTransfer
from bitnexus.actors.runtime import process
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.transactions.partition import Partition, User
from bitnexus.actors.transactions.user import Incoming, Outgoing, TransactionActor
from bitnexus.cli import main
from bitnexus.config import Settings
from bitnexus.storage.user_limits import UserState
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags

POISON: Final = "poison"
BLOCK_S: Final = 1.5
_PARTITION: Final = "tests.chaos.program:BreakablePartition"
_partitions = application.partitions
_settle_others = process._settle_signals

log = structlog.get_logger(__name__)


class BreakableActor(TransactionActor[Context]):
    """Raises on poison."""

    __slots__ = ()

    def receive(self, message: Incoming, context: Context) -> Outgoing:
        if isinstance(message, PostTransfer) and message.description == POISON:
            raise RuntimeError("poisoned")
        return super().receive(message, context)


class BreakablePartition(Partition):
    """Hosts such actors."""

    def make(self, key: str, state: UserState | None) -> User:
        actor = super().make(key, state)
        actor.__class__ = BreakableActor  # it knows no more, it only takes poison otherwise
        return actor


def partitions(settings: Settings, flags: SupervisorFlags) -> ChildSpec:
    """In the place of the application's."""
    spec = _partitions(settings, flags)
    assert isinstance(spec.start, ProcessStart)
    args: dict[str, Any] = dict(spec.start.args)
    args["children"] = [
        dataclasses.replace(child, start=dataclasses.replace(child.start, process=_PARTITION))
        for child in args["children"]
    ]
    return dataclasses.replace(spec, start=dataclasses.replace(spec.start, args=args))


def _settle_signals() -> None:
    """Each process's, after Thespian's, which would only note that there was a signal."""
    _settle_others()
    signal.signal(signal.SIGUSR2, _block)


def _block(_number: int, _frame: FrameType | None) -> None:
    log.info("blocked", seconds=BLOCK_S)
    time.sleep(BLOCK_S)


if __name__ == "__main__":
    application.partitions = partitions
    process._settle_signals = _settle_signals
    main(["serve"])

"""The process that bench.supervision kills: it tells its pid."""

from __future__ import annotations

import os

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.process import Process, handles


class WhereAreYou(Message, frozen=True, tag="WhereAreYou/1"):
    """Ask for the pid."""


class Where(Message, frozen=True, tag="Where/1"):
    """The pid."""

    pid: int


class Worker(Process):
    """Answers WhereAreYou."""

    @handles(WhereAreYou)
    def where(self, message: WhereAreYou, context: Context) -> Where:
        """This process."""
        return Where(os.getpid())

"""Where a message came from and how to answer it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from bitnexus.actors.runtime import wire
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.message import Message
from bitnexus.errors import BitNexusError, Overloaded

log = structlog.get_logger("bitnexus.runtime")


class Context:
    """One received message. A call is answered once: a second answer is a fault of the handler and raises."""

    __slots__ = (
        "_loop",
        "answered",
        "cancelled",
        "connection",
        "deadline",
        "is_control",
        "on_answered",
        "ref",
        "request_id",
    )

    def __init__(
        self,
        connection: Connection,
        ref: int | None,
        deadline: float | None,
        request_id: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.connection = connection
        self.ref = ref
        self.deadline = deadline
        self.request_id = request_id
        self.answered = ref is None
        self.cancelled = False  # by the caller: it does not wait any more
        self.is_control = False  # the question came in the node's own lane: so goes the answer
        self.on_answered: Callable[[Context], None] | None = None
        self._loop = loop

    @property
    def is_call(self) -> bool:
        """Whether somebody waits for an answer."""
        return self.ref is not None

    @property
    def remaining_s(self) -> float:
        """Seconds until the caller gives up (infinite for a cast)."""
        return float("inf") if self.deadline is None else self.deadline - self._loop.time()

    @property
    def expired(self) -> bool:
        """Whether the caller has given up, or is gone: work that has not begun should not begin."""
        if self.cancelled or self.connection.is_closed:
            return True
        return self.deadline is not None and self.deadline <= self._loop.time()

    def reply(self, message: Message) -> None:
        """Answer the call; nothing happens for a cast or when the caller is gone or has withdrawn it."""
        ref = self._take()
        if ref is None:
            return
        item = wire.encode_reply(ref, message)
        if len(item) > wire.MAX_MESSAGE_BYTES:
            log.error("answer_too_large", message=type(message).__name__, size=len(item))
            item = wire.encode_failure(ref, BitNexusError.code, "The answer is too large")
        self._post(item)

    def fail(self, error: BitNexusError) -> None:
        """Answer the call with an error: the caller's `call` raises the same class."""
        ref = self._take()
        if ref is not None:
            self._post(wire.encode_failure(ref, getattr(error, "refusal", error.code), error.detail))

    def _take(self) -> int | None:
        if self.ref is None:
            return None
        if self.answered:
            raise RuntimeError("a call was answered twice")
        self.answered = True
        if self.on_answered is not None:
            self.on_answered(self)
        self.connection.taken.pop(self.ref, None)
        return None if self.connection.is_closed or self.cancelled else self.ref

    def _post(self, item: bytes) -> None:
        try:
            if self.is_control:
                self.connection.post_control(item)
            else:
                self.connection.post(item)
        except Overloaded as error:
            # An answer must not get lost in silence: without the connection the caller knows.
            self.connection.close(f"an answer could not be sent: {error.detail}")

"""The calls of one process that have no answer yet. Sans-I/O: the time is passed in.

A call is in flight over a connection, or parked until somebody holds its name, or over.
"""

from __future__ import annotations

from collections.abc import Callable

from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.message import Message
from bitnexus.config.correlation import request_id
from bitnexus.errors import BitNexusError, Overloaded

OnReply = Callable[[Message | BitNexusError], None]

#: Calls of one process without an answer; one more is refused.
MAX_OPEN_CALLS = 131_072


class OpenCall:
    """A call without an answer yet; `name` is "" for the registry. `retry`: it may be sent more than once."""

    __slots__ = ("connection", "deadline", "message", "name", "on_reply", "ref", "retry", "trace")

    def __init__(
        self, ref: int, name: str, message: Message, on_reply: OnReply, *, deadline: float, retry: bool
    ) -> None:
        self.ref = ref
        self.name = name
        self.message = message
        self.on_reply = on_reply
        self.deadline = deadline
        self.retry = retry
        self.trace = request_id.get()
        self.connection: Connection | None = None

    @property
    def target(self) -> str:
        """Whom it is for, in words."""
        return self.name or "the registry"


class OpenCalls:
    """All of them, by their number."""

    def __init__(self) -> None:
        self._open: dict[int, OpenCall] = {}
        self._parked: dict[str, list[OpenCall]] = {}
        self._last_ref = 0

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, ref: int) -> bool:
        return ref in self._open

    def open(self, name: str, message: Message, on_reply: OnReply, *, deadline: float, retry: bool = False) -> OpenCall:
        """A new call. Raises Overloaded when too many are open; the node's own questions are few, and never refused."""
        if len(self._open) >= MAX_OPEN_CALLS and not message.is_control:
            raise Overloaded("too many calls of this process wait for their answer")
        self._last_ref += 1
        call = OpenCall(self._last_ref, name, message, on_reply, deadline=deadline, retry=retry)
        self._open[call.ref] = call
        return call

    def close(self, ref: int) -> OpenCall | None:
        """Take the call out; None when it is over already."""
        return self._open.pop(ref, None)

    def get(self, ref: int) -> OpenCall | None:
        """The open call with this number."""
        return self._open.get(ref)

    def take_all(self) -> list[OpenCall]:
        """Every open call; none is open any more."""
        taken = list(self._open.values())
        self._open.clear()
        self._parked.clear()
        return taken

    def park(self, call: OpenCall) -> None:
        """Keep the call until somebody holds its name."""
        call.connection = None
        self._parked.setdefault(call.name, []).append(call)

    def unpark(self, name: str) -> list[OpenCall]:
        """The calls that wait for this name, in the order in which they were made; they do not wait any more."""
        # One that was sent already, to a process that died, has come behind those that were made since.
        return sorted(
            (call for call in self._parked.pop(name, ()) if call.ref in self._open), key=lambda call: call.ref
        )

    def awaited_names(self) -> list[str]:
        """The names that parked calls wait for."""
        return list(self._parked)

    def parked_count(self) -> int:
        """How many calls are parked."""
        return sum(len(calls) for calls in self._parked.values())

    def over(self, connection: Connection) -> list[OpenCall]:
        """The calls that were sent over this connection."""
        return [call for call in self._open.values() if call.connection is connection]

    def expire(self, now: float) -> list[OpenCall]:
        """Take out the calls whose deadline has passed."""
        expired = [call for call in self._open.values() if call.deadline <= now]
        for call in expired:
            del self._open[call.ref]
        for name in list(self._parked):
            if still := self.unpark(name):
                self._parked[name] = still
        return expired

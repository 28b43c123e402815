"""The base of all messages: declared schema, tagged with name and version, encoded by msgspec."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from bitnexus.principal import Principal


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base class of messages; a subclass gives ``tag="Name/version"`` and ``frozen=True``.

    Only fields that cannot form a reference cycle (strings, numbers, other messages, lists and dicts of them)
    are allowed: messages are exempt from the cyclic garbage collector.

    A message with `is_control` is the node's own: it travels in a lane of its own (see lanes.py), and is taken also by
    a process whose mailbox is full.
    """

    is_control: ClassVar[bool] = False

    def permits(self, sender: Principal) -> bool:  # noqa: ARG002  # for those who override it
        """Whether a client may send this message; by default none is a client's to send (see access.py)."""
        return False

    def __str__(self) -> str:
        # Thespian formats every message it moves for log lines that are not written: keep that cheap.
        return type(self).__name__


class Done(Message, frozen=True, tag="Done/1"):
    """The answer of a call that has nothing else to say."""


# -- names (see registry.py) --------------------------------------------------------------------------------


class ProcessInfo(Message, frozen=True, tag="ProcessInfo/1"):
    """A registered process: its unique `name`, where it listens ("host:port"), the instance it proves there."""

    name: str
    path: str
    address: str
    instance: str  # hex
    pid: int
    heartbeat_timeout_s: float | None = 3.0  # longer silence is its death; None: it may be silent


class Register(Message, frozen=True, tag="Register/1"):
    """A process asks for its name; it holds it as long as this connection lives. Answered by :class:`Names`.

    A process that only wants to look on (a client, the launcher) leaves `info` out.
    """

    is_control: ClassVar[bool] = True

    info: ProcessInfo | None = None

    def permits(self, sender: Principal) -> bool:  # noqa: ARG002
        """A client looks on; a name is for processes."""
        return self.info is None


class GetNames(Message, frozen=True, tag="GetNames/1"):
    """Ask for the table of names; answered by :class:`Names`."""

    is_control: ClassVar[bool] = True

    def permits(self, sender: Principal) -> bool:  # noqa: ARG002
        """Whoever has the cookie."""
        return True


class Names(Message, frozen=True, tag="Names/1"):
    """Every registered process."""

    is_control: ClassVar[bool] = True

    processes: list[ProcessInfo]


class NamesChanged(Message, frozen=True, tag="NamesChanged/1"):
    """Processes that came up or went down; cast to every registered process, in order."""

    is_control: ClassVar[bool] = True

    up: list[ProcessInfo]
    down: list[ProcessInfo]


# -- the life of a process (see process.py and supervision/supervisor.py) -----------------------------------


class ProcessStarted(Message, frozen=True, tag="ProcessStarted/1"):
    """Child → supervisor: `init` is done, the name is registered."""

    is_control: ClassVar[bool] = True

    child: str
    pid: int
    instance: str


class ProcessExiting(Message, frozen=True, tag="ProcessExiting/1"):
    """Child → supervisor: its last words. `reason` is an encoded reasons.ExitReason."""

    is_control: ClassVar[bool] = True

    child: str
    pid: int
    reason: list[str]


class Heartbeat(Message, frozen=True, tag="Heartbeat/1"):
    """Child → supervisor, once a second: the loop is alive. Lag and mailbox are what was measured since the last.

    `suspended`: an operator has it wait.
    """

    is_control: ClassVar[bool] = True

    child: str
    pid: int
    loop_lag_ms: float
    mailbox: int
    suspended: bool = False


class StopProcess(Message, frozen=True, tag="StopProcess/1"):
    """Supervisor → child: run `terminate` and exit."""

    is_control: ClassVar[bool] = True

    reason: str


class GetMetrics(Message, frozen=True, tag="GetMetrics/1"):
    """Ask any process for its metrics; answered by :class:`Metrics`."""

    def permits(self, sender: Principal) -> bool:
        """Those who watch the service, not its users."""
        return sender.role in ("admin", "service")


class Metrics(Message, frozen=True, tag="Metrics/1"):
    """Prometheus text exposition of one process."""

    process: str
    text: str

"""The operators' commands as messages: to the process ``operations``, from fronts and from clients.

Clients (:func:`bitnexus.connect`) need an access token: an admin's for every command, a service's to look (tree, top,
state, history) and to ask what a command would do. A path is that of a process, ``bitnexus/transactions``, or of a
light actor, ``bitnexus/transactions/transactions-0/<user id>``. Times are microseconds since 1970.

Errors: UnknownPath (with what comes near), CommandRefused (it cannot be done to this), Conflict (another command is at
work there), AuditUnavailable (what cannot be recorded is not done), besides those of any call.
"""

from __future__ import annotations

from typing import ClassVar, Final

from bitnexus.actors.runtime.inspection_messages import Scalar, TracedMessage
from bitnexus.actors.runtime.message import Message
from bitnexus.principal import Principal

#: The process that takes them.
OPERATIONS: Final = "operations"
#: What changes something.
CHANGES: Final = ("restart", "stop", "start", "suspend", "resume", "drain", "kill")
#: What only looks.
LOOKS: Final = ("tree", "top", "state", "history", "trace")
#: By what `top` sorts.
SORTS: Final = ("cpu", "memory", "mailbox")
ENTRANCES: Final = ("cli", "http", "message")
MAX_TRACE: Final = 1_000
MAX_TRACE_S: Final = 60.0
#: The longest that a command may be given, and what it is given by default.
MAX_WITHIN_S: Final = 600.0
WITHIN_S: Final = 30.0


class Operator(Message, frozen=True, tag="Operator/1"):
    """Who gives a command: `user_id` and `role` are those of the token; `name` is what they say they are called.

    `entrance` and `address` say by which way it came. For a client the receiver knows better, and puts in what is true.
    """

    user_id: str
    role: str
    name: str = ""
    entrance: str = "message"
    address: str = ""


class OperatorCommand(Message, frozen=True):
    """Base of the commands."""

    #: The roles that may send it; a front sends it for admins alone.
    roles: ClassVar[tuple[str, ...]] = ("admin",)

    operator: Operator
    path: str = ""  # "": the whole node

    def permits(self, sender: Principal) -> bool:
        """In one's own name and role, if that is one for it."""
        own = (self.operator.user_id, self.operator.role) == (sender.user_id, sender.role)
        return bool(sender.user_id) and own and sender.role in self.roles


class ShowTree(OperatorCommand, frozen=True, tag="ShowTree/1"):
    """The subtree; of a process with light actors `actors` of them, too. Answered by :class:`TreeShown`."""

    roles: ClassVar[tuple[str, ...]] = ("admin", "service")

    actors: int = 20


class ShowTop(OperatorCommand, frozen=True, tag="ShowTop/1"):
    """The processes of the subtree, or the light actors of one, the busiest first. Answered by :class:`TreeShown`."""

    roles: ClassVar[tuple[str, ...]] = ("admin", "service")

    sort: str = "cpu"
    limit: int = 50
    for_s: float = 0.5


class TreeRow(Message, frozen=True, tag="TreeRow/1"):
    """One line of a tree: a supervisor, a worker (both processes) or a light actor.

    `restarts` of an actor or a worker are its own; a supervisor's are those that count against `restarts_allowed` in
    `period_s`. `cpu` is a share of one core, None unless it was measured; memory is resident, in bytes.
    """

    path: str
    kind: str  # "supervisor", "worker" or "actor"
    status: str
    pid: int | None = None
    uptime_s: float | None = None
    restarts: int = 0
    restarts_allowed: int | None = None
    period_s: float | None = None
    mailbox: int = 0
    memory: int | None = None
    cpu: float | None = None
    last_exit: str = ""
    last_exit_us: int = 0
    note: str = ""


class TreeShown(Message, frozen=True, tag="TreeShown/1"):
    """The rows, each below its supervisor, siblings in start order; of top: as sorted."""

    rows: list[TreeRow]


class ShowState(OperatorCommand, frozen=True, tag="ShowState/1"):
    """A safe summary of one process or light actor; answered by :class:`StateShown`."""

    roles: ClassVar[tuple[str, ...]] = ("admin", "service")


class StateShown(Message, frozen=True, tag="StateShown/1"):
    """Never a secret."""

    path: str
    fields: dict[str, Scalar]


class ShowHistory(OperatorCommand, frozen=True, tag="ShowHistory/1"):
    """How the processes of the subtree, or a light actor, ended; answered by :class:`HistoryShown`."""

    roles: ClassVar[tuple[str, ...]] = ("admin", "service")

    limit: int = 50


class ExitShown(Message, frozen=True, tag="ExitShown/1"):
    """One end; `uptime_s` is None for a start that failed, or when nobody knows it."""

    path: str
    time_us: int
    reason: str
    uptime_s: float | None
    traceback: str


class HistoryShown(Message, frozen=True, tag="HistoryShown/1"):
    """Newest first."""

    exits: list[ExitShown]


class TraceMessages(OperatorCommand, frozen=True, tag="TraceMessages/1"):
    """The next `count` messages to a process or a light actor, of those within `within_s`.

    Answered by :class:`MessagesTraced`.
    """

    count: int = 20
    within_s: float = 10.0


class MessagesTraced(Message, frozen=True, tag="MessagesTraced/1"):
    """Type, sender and size of each; never what is in them."""

    path: str
    messages: list[TracedMessage]


class ChangeTree(OperatorCommand, frozen=True, tag="ChangeTree/1"):
    """Do `verb`, one of CHANGES, to the subtree. Answered by :class:`TreeChanged`.

    With `dry_run` it is only said what would be done. What is not done after `within_s` goes on: the answer says so.
    `via` is the front that passes it on: a command that ends it is answered before it begins.
    """

    verb: str = ""
    dry_run: bool = False
    within_s: float = WITHIN_S
    via: str = ""

    def permits(self, sender: Principal) -> bool:
        """An admin's; asking what would be done is looking."""
        return super().permits(sender) or (self.dry_run and _is_service(self.operator, sender))


class ChangePartitions(OperatorCommand, frozen=True, tag="ChangePartitions/1"):
    """Have `count` partitions, 1 to 256, below the partition supervisor at `path`.

    Answered by :class:`PartitionsChanged`. Everything goes on meanwhile. CallTimeout: it is not done after `within_s`,
    and goes on. With `dry_run` it is only said what would be done. It lasts until the supervisor is restarted.
    """

    count: int = 0
    dry_run: bool = False
    within_s: float = WITHIN_S

    def permits(self, sender: Principal) -> bool:
        """As ChangeTree."""
        return super().permits(sender) or (self.dry_run and _is_service(self.operator, sender))


def _is_service(operator: Operator, sender: Principal) -> bool:
    own = (operator.user_id, operator.role) == (sender.user_id, "service")
    return bool(sender.user_id) and own and sender.role == "service"


class Step(Message, frozen=True, tag="Step/1"):
    """One thing that is done to one process or light actor: `action` is a verb, or "end" for what dies with another.

    `pid` is who it is done to; None for a start. `by` is the process that does it.
    """

    action: str
    path: str
    by: str
    pid: int | None = None
    note: str = ""


class TreeChanged(Message, frozen=True, tag="TreeChanged/1"):
    """What was done, or would be.

    `outcome`: "done", "nothing" (it was so already), "would" (a dry run), "begun" (see ChangeTree.via), "unfinished"
    (not in time; it goes on), "failed" (`detail` says at what). `command_id` is that of its line in the audit.
    """

    outcome: str
    steps: list[Step]
    warnings: list[str]
    detail: str = ""
    command_id: str = ""


class PartitionsChanged(Message, frozen=True, tag="PartitionsChanged/1"):
    """There are `count` partitions, or would be; `slots` of 1024 changed hands, in `seconds`.

    `outcome`: "done", "nothing" or "would", as of :class:`TreeChanged`.
    """

    outcome: str
    before: int
    count: int
    slots: int
    seconds: float
    steps: list[Step]
    command_id: str = ""

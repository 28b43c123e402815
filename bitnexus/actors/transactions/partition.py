"""The partition process: hosts the transaction actors of its share of the users.

    front ──PostTransfer──▶ partition: user's light actor ──▶ ledger
          ◀─TransferResult─                               ◀──

No task runs per transfer: an idle actor receives a command as it comes in, a busy one in its turn; the command is
passed on by `node.request`, and the ledger's answer comes back by a callback. The request is repeated when the ledger
dies, under the same ids, until the caller's deadline; so the caller gets the one true answer, or none. When the
partition itself dies, callers repeat and the users' actors are rebuilt.

Which users are its own is said by its supervisor, and may change (see supervision/partition_supervisor.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, Final, TypeAlias

from prometheus_client import Counter, Gauge

from bitnexus.actors.ledger.accounts import canonical_uuid
from bitnexus.actors.messages import (
    AnnotateTransfer,
    ChangeAccount,
    CreateAccount,
    OpenAccount,
    PostTransfer,
    PostTransfers,
    Purchase,
)
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.inspection_messages import Scalar
from bitnexus.actors.runtime.light import Crash, LightActor, Limits
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.process import handles
from bitnexus.actors.runtime.reasons import ExitReason
from bitnexus.actors.transactions.user import (
    Answered,
    Command,
    Incoming,
    Outgoing,
    ToLedger,
    TransactionActor,
)
from bitnexus.config import correlation, get_settings
from bitnexus.errors import BitNexusError, CallTimeout, Moved, NotFound, Overloaded
from bitnexus.storage import ledger as ledger_tables
from bitnexus.storage.database import Database
from bitnexus.supervision import events as ev
from bitnexus.supervision.dynamic_flags import Budget, DynamicFlags
from bitnexus.supervision.light_operated import LightOperated
from bitnexus.supervision.light_supervisor import LightSupervisor
from bitnexus.supervision.partition_worker import PartitionWorker
from bitnexus.supervision.spec import ChildSpec

LEDGER: Final = "ledger"

_active = Gauge("bitnexus_users_active", "Transaction actors in this process", registry=None)
_activating = Gauge("bitnexus_users_activating", "Transaction actors that wait for their accounts", registry=None)
_crashed = Counter("bitnexus_users_crashed", "Transaction actors that an exception ended", registry=None)
_quarantined = Gauge(
    "bitnexus_users_quarantined", "Transaction actors that are set aside after repeated crashes", registry=None
)

#: Users active at once in one partition, about 0.5 KB each.
MAX_USERS: Final = 250_000

#: Beyond the longest call. What is not finished by then nobody waits for; it is ended.
DRAIN_GRACE_S: Final = 1.0
#: How long a stop waits for the ledger's answers.
FINISH_S: Final = 1.0

Users: TypeAlias = LightSupervisor[Incoming, Context, Outgoing, list[str]]
User: TypeAlias = LightActor[Incoming, Context, Outgoing]


class Partition(PartitionWorker, LightOperated):
    """Answers PostTransfer(s), Purchase, AnnotateTransfer, OpenAccount, CreateAccount and ChangeAccount.

    Args: `supervisor`, whom it asks for its slots; without, all are its own.

    Moved, Overloaded, TooManyInFlight, TooManyAccounts, Forbidden, NotFound and Quarantined are decided here, before
    the ledger looks at an id, and burn none.
    """

    #: A user whose actor crashes more often than this is refused for a while; nobody else notices.
    budget: ClassVar[Budget] = Budget(restarts=5, period_s=10, quarantine_s=30)

    async def init(self) -> None:
        """Start with no user active; the database need not be there yet."""
        settings = get_settings()
        if settings.database_url is None:
            raise RuntimeError("the database's address is not set")
        self._database = await Database.connect(settings.database_url, pool_size=settings.pool_size, process=self.name)
        self._max_in_flight = settings.max_in_flight_per_user
        self._call_timeout_s = settings.call_timeout_s
        limits = Limits(max_actors=MAX_USERS, idle_s=settings.user_idle_s, mailbox=4 * self._max_in_flight)
        self._users: Users = LightSupervisor(
            self,
            DynamicFlags(budget=self.budget, on_demand=True),
            ChildSpec("user", TransactionActor),
            limits=limits,
            load=self._accounts_of,
        )
        await self.share(self._users.actors, drain_within_s=self._call_timeout_s + DRAIN_GRACE_S)
        self.expose(_active, _activating, _crashed, _quarantined)
        _active.set_function(lambda: len(self._users.actors))
        _quarantined.set_function(lambda: len(self._users.quarantined()))
        _activating.set_function(lambda: self._users.actors.activating)

    async def terminate(self, reason: ExitReason) -> None:  # noqa: ARG002 - it makes no difference here
        """Finish what is in flight, if it does not take long, and end; callers of what is left repeat it."""
        await self.drain(FINISH_S)
        await self._users.stop()
        await self._database.close()

    @handles(PostTransfer, clients=True)
    def post(self, message: PostTransfer, context: Context) -> None:
        """To the user's actor; answered when the ledger has."""
        self._check_owner(message.user_id, context)
        self._users.tell(message.user_id, message, context)

    @handles(Purchase)
    def buy(self, message: Purchase, context: Context) -> None:
        """To the buyer's actor; answered when the ledger has."""
        self._users.tell(message.user_id, message, context)

    @handles(PostTransfers)
    def post_all(self, message: PostTransfers, context: Context) -> None:
        """To the user's actor; answered when the ledger has."""
        self._users.tell(message.user_id, message, context)

    @handles(AnnotateTransfer)
    def annotate(self, message: AnnotateTransfer, context: Context) -> None:
        """To the user's actor; answered when the ledger has."""
        self._users.tell(message.user_id, message, context)

    @handles(OpenAccount, clients=True)
    def open(self, message: OpenAccount, context: Context) -> None:
        """To the owner's actor; answered when the ledger has."""
        self._check_owner(message.owner_id, context)
        self._users.tell(message.owner_id, message, context)

    @handles(CreateAccount)
    def create(self, message: CreateAccount, context: Context) -> None:
        """To the owner's actor; answered when the ledger has."""
        self._users.tell(message.owner_id, message, context)

    @handles(ChangeAccount)
    def change(self, message: ChangeAccount, context: Context) -> None:
        """To the actor of who asks; answered when the ledger has."""
        self._users.tell(message.user_id, message, context)

    def _check_owner(self, user_id: str, context: Context) -> None:
        """A client may be wrong about whose the user is, or late; processes of the node are told in time."""
        if context.connection.client is not None and not self.slots.owns(user_id):
            raise Moved

    # -- what operators ask for ------------------------------------------------------------------------------

    @property
    def light_supervisor(self) -> Users:
        """That of the users."""
        return self._users

    def check_key(self, key: str) -> None:
        """A user is the id of one, and of this partition."""
        if not canonical_uuid(key):
            raise NotFound(f"{key!r} is not the id of a user")
        if not self.slots.owns(key):
            raise NotFound(f"The commands of this user do not go to {self.name}")

    def is_for(self, key: str, message: Message) -> bool:
        """A user's commands."""
        return key in (getattr(message, "user_id", None), getattr(message, "owner_id", None))

    def summary(self) -> dict[str, Scalar]:
        """How many users are in which state."""
        actors = self._users.actors
        return {
            "users_activating": actors.activating,
            "users_quarantined": len(self._users.quarantined()),
            "users_suspended": len(actors.suspended()),
            "users_crashed": actors.counters.crashed,
        }

    # -- what the users' supervisor asks for -----------------------------------------------------------------

    async def _accounts_of(self, user_ids: Sequence[str]) -> Mapping[str, list[str]]:
        async with self._database.connection() as connection:
            return await ledger_tables.accounts_of_owners(connection, user_ids)

    def make(self, key: str, state: list[str] | None) -> User:
        """The user's actor, with the accounts that storage knows."""
        return TransactionActor(key, state or (), max_in_flight=self._max_in_flight)

    def emit(self, actor: User, output: Outgoing, context: Context) -> None:
        """Pass a command to the ledger, or an answer to the caller."""
        if isinstance(output, ToLedger):
            self._to_ledger(actor, output.command, context)
            return
        answer(context, output.result)
        if output.stale:
            self._users.actors.retire(actor.key)

    def _to_ledger(self, actor: User, command: Command, context: Context) -> None:
        on_reply = partial(self._ledger_answered, actor, command, context)
        if context.expired:
            on_reply(CallTimeout())
            return
        # A turn serves many requests: the one passed on is this one.
        correlation.request_id.set(context.request_id)
        timeout_s = min(context.remaining_s, self._call_timeout_s)
        try:
            self.node.request(LEDGER, command, on_reply, timeout_s=timeout_s, retry=True)
        except Overloaded as error:
            on_reply(error)

    def _ledger_answered(
        self, actor: User, command: Command, context: Context, result: Message | BitNexusError
    ) -> None:
        if actor.key in self._users.actors:
            self._users.actors.deliver(actor.key, Answered(actor, command, result), context, bounded=False)
        else:
            # It ended meanwhile. Nobody needs to know but the caller; the next actor will read what became durable.
            answer(context, result)

    def undelivered(self, key: str, message: Incoming, context: Context, error: BitNexusError) -> None:  # noqa: ARG002
        """Answer the caller: with the ledger's answer if that is what was not delivered."""
        answer(context, message.result if isinstance(message, Answered) else error)

    def crashed(self, crash: Crash, context: Context | None) -> None:
        """Log it; its supervisor decides whether a fresh actor, rebuilt from storage, takes what was queued."""
        _crashed.inc()
        self.log.error(
            "transaction_actor_crashed",
            **correlation.fields("" if context is None else context.request_id),
            user_id=crash.key,
            reason=crash.reason,
            at_message=crash.message,
            traceback=crash.traceback,
        )

    def reported(self, report: ev.Report) -> None:
        """Log that a user was set aside, or released."""
        log = self.log.warning if report.kind == "released" else self.log.error
        log(f"transaction_actor_{report.kind}", user_id=report.child, context=report.context)


def answer(context: Context, result: Message | BitNexusError) -> None:
    """Answer a call by a message or an error."""
    if isinstance(result, BitNexusError):
        context.fail(result)
    else:
        context.reply(result)

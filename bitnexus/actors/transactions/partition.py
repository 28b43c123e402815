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

import asyncio
import time
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
    SetLimits,
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
    ToStorage,
    TransactionActor,
)
from bitnexus.config import correlation, get_settings
from bitnexus.errors import BitNexusError, CallTimeout, Moved, NotFound, Overloaded
from bitnexus.storage import user_limits
from bitnexus.storage.database import Database
from bitnexus.storage.user_limits import UserState
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
_loads = Counter("bitnexus_users_loads", "Queries by which users' accounts and limits were read", registry=None)
_quarantined = Gauge(
    "bitnexus_users_quarantined", "Transaction actors that are set aside after repeated crashes", registry=None
)

#: Beyond the longest call. What is not finished by then nobody waits for; it is ended.
DRAIN_GRACE_S: Final = 1.0
#: How long a stop waits for the ledger's answers.
FINISH_S: Final = 1.0

Users: TypeAlias = LightSupervisor[Incoming, Context, Outgoing, UserState]
User: TypeAlias = LightActor[Incoming, Context, Outgoing]


class Partition(PartitionWorker, LightOperated):
    """Answers PostTransfer(s), Purchase, AnnotateTransfer, OpenAccount, CreateAccount, ChangeAccount and SetLimits.

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
        limits = Limits(
            max_actors=settings.max_active_users, idle_s=settings.user_idle_s, mailbox=4 * self._max_in_flight
        )
        self._users: Users = LightSupervisor(
            self,
            DynamicFlags(budget=self.budget, on_demand=True),
            ChildSpec("user", TransactionActor),
            limits=limits,
            load=self._states_of,
        )
        await self.share(self._users.actors, drain_within_s=self._call_timeout_s + DRAIN_GRACE_S)
        self.expose(_active, _activating, _crashed, _loads, _quarantined)
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

    @handles(SetLimits)
    def set_limits(self, message: SetLimits, context: Context) -> None:
        """To the actor of the user whose they are to be; answered when they are durable, and hold."""
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

    async def _states_of(self, user_ids: Sequence[str]) -> Mapping[str, UserState]:
        _loads.inc()
        async with self._database.connection() as connection:
            return await user_limits.states_of(connection, user_ids, now_us=_now_us())

    def make(self, key: str, state: UserState | None) -> User:
        """The user's actor, with the accounts and limits that storage knows."""
        accounts, limits = ((), None) if state is None else (state.accounts, state.limits)
        return TransactionActor(key, accounts, max_in_flight=self._max_in_flight, clock=_now_us, limits=limits)

    def emit(self, actor: User, output: Outgoing, context: Context) -> None:
        """Pass a command to the ledger or to storage, or an answer to the caller."""
        if isinstance(output, ToLedger):
            self._to_ledger(actor, output.command, context)
            return
        if isinstance(output, ToStorage):
            self.spawn(self._to_storage(actor, output.command, context))
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

    async def _to_storage(self, actor: User, command: SetLimits, context: Context) -> None:
        """Keep limits; one of the database's own errors ends this process, as anywhere."""
        result: Message | BitNexusError
        try:
            async with asyncio.timeout(max(min(context.remaining_s, self._call_timeout_s), 0)):
                result = await self._keep(command)
        except TimeoutError:
            result = CallTimeout()
        except BitNexusError as error:
            result = error
        else:
            self.log.info("user_limits_set", user_id=command.user_id, set_by=command.set_by)
        self._ledger_answered(actor, command, context, result)

    async def _keep(self, command: SetLimits) -> Message:
        async with self._database.connection() as connection, connection.transaction():
            return await user_limits.replace(
                connection,
                command.user_id,
                command.limits,
                set_by=command.set_by,
                versions=command.if_versions,
                now_us=_now_us(),
            )

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


def _now_us() -> int:
    return time.time_ns() // 1_000


def answer(context: Context, result: Message | BitNexusError) -> None:
    """Answer a call by a message or an error."""
    if isinstance(result, BitNexusError):
        context.fail(result)
    else:
        context.reply(result)

"""`Process`: the base class of everything that has an operating system process of its own.

    class Ledger(Process):
        async def init(self) -> None: ...

        @handles(PostTransfer)
        def post(self, message: PostTransfer, context: Context) -> Message | None: ...

A handler that returns a message answers with it; one that returns None keeps its context and answers later, or not at
all for a cast. Raising a BitNexusError answers with that error. Any other exception ends the process with its reason,
which its supervisor learns: a message is never delivered twice to an actor that has already stumbled over it. An
asynchronous handler runs as a task of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import setproctitle
import structlog
from prometheus_client import REGISTRY, Gauge, generate_latest
from prometheus_client.registry import Collector
from thespian.actors import Actor, ActorAddress

from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.gate import Gate
from bitnexus.actors.runtime.handlers import handles
from bitnexus.actors.runtime.inspection import Inspected
from bitnexus.actors.runtime.liveness import HEARTBEAT_S, MISSED_HEARTBEATS
from bitnexus.actors.runtime.message import (
    GetMetrics,
    Heartbeat,
    Message,
    Metrics,
    ProcessExiting,
    ProcessInfo,
    ProcessStarted,
    StopProcess,
)
from bitnexus.actors.runtime.node import Node
from bitnexus.actors.runtime.reasons import NORMAL, SHUTDOWN, ExitReason, raised, shutdown
from bitnexus.actors.runtime.revoked_tokens import TokensRevoked
from bitnexus.actors.runtime.transport import Transport
from bitnexus.config import get_settings
from bitnexus.config import logging as log_lines
from bitnexus.config.correlation import request_id
from bitnexus.errors import BitNexusError, CallTimeout, Overloaded, UnknownMessage
from bitnexus.tokens import AccessTokens

__all__ = ["MAX_MAILBOX", "Process", "StartProcess", "handles"]

#: Messages received whose work is not done; one more is refused.
MAX_MAILBOX = 65_536
#: How long the last words and answers of an ending process may take to leave.
_LAST_WORDS_S = 0.5
#: How long a forked process waits for its first message.
UNASKED_S = 10.0
EXIT_CRASHED = 70  # EX_SOFTWARE
EXIT_UNLINKED = 69  # EX_UNAVAILABLE: whom it was linked to is gone

# The place of the title is looked for at first use, beside the environment, which nobody may have changed by then.
setproctitle.getproctitle()

_lag = Gauge("bitnexus_loop_lag_seconds", "How late the loop was at the last heartbeat")
_mailbox = Gauge("bitnexus_mailbox_messages", "Messages received whose work is not done")
_in_flight = Gauge("bitnexus_calls_in_flight", "Calls of this process that wait for their answer")


class Ignore(Exception):
    """Raised by `init`: there is nothing to do. The process ends, its supervisor keeps its spec and does not retry."""


@dataclass(frozen=True, slots=True)
class StartProcess:
    """The first message to a new process: who it is and to whom it belongs (pickled by Thespian)."""

    name: str
    path: str
    link_address: str  # its supervisor's
    link_instance: str
    registry_address: str  # "" for the root, which is the registry itself
    registry_instance: str
    heartbeat_timeout_s: float | None = MISSED_HEARTBEATS * HEARTBEAT_S
    stop_within_s: float | None = 5.0  # what `terminate` may take when a SIGTERM comes; None: as long as it likes
    args: dict[str, Any] = field(default_factory=dict, repr=False)


class Process(Inspected, Actor):  # type: ignore[misc]  # Thespian has no type hints
    """See the module. Subclasses override `init` and `terminate` and mark handlers."""

    _handlers: dict[type[Message], Callable[..., Any]] = {}  # noqa: RUF012  # replaced per class
    _open_to_clients: frozenset[type[Message]] = frozenset()

    name: str
    path: str
    args: dict[str, Any]
    node: Node
    log: Any

    def __init_subclass__(cls) -> None:
        """Collect the handlers."""
        super().__init_subclass__()
        # By name, so that a subclass may override a handler of its base.
        found = [(name, method) for base in reversed(cls.__mro__) for name, method in vars(base).items()]
        cls._handlers = {
            message: getattr(cls, name) for name, method in found for message in getattr(method, "handled", ())
        }
        # As the handler that will run says: who overrides one without a word closes it.
        cls._open_to_clients = frozenset(
            message for message, handler in cls._handlers.items() if message in getattr(handler, "opened", ())
        )

    async def init(self) -> None:
        """Prepare; the process takes messages only after this. An exception is a failed start, Ignore is none."""

    async def terminate(self, reason: ExitReason) -> None:
        """Finish what must be finished; the supervisor kills what takes longer than the child's shutdown time."""

    # -- what Thespian calls ---------------------------------------------------------------------------------

    def receiveMessage(self, message: object, sender: ActorAddress) -> None:  # noqa: ARG002, N802
        """Thespian's own messages: the start; the others need nothing more (the transport tells of exit requests)."""
        if isinstance(message, StartProcess):
            self._boot(message)

    @property
    def transport(self) -> Transport:
        """This process's transport."""
        transport: Transport = self._myRef.transport
        return transport

    def __init__(self) -> None:
        # Whoever forked this process may die before it says what the process is for: then the kernel ends it.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, UNASKED_S)

    def _boot(self, start: StartProcess) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.name, self.path, self.args = start.name, start.path, start.args
        self._is_initialised = False
        self._stopping = False
        self._crashed = False
        self._mailbox = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        log_lines.configure(get_settings(), process=start.name)
        setproctitle.setproctitle(f"bitnexus: {start.name}")
        self.log = structlog.get_logger(f"bitnexus.{start.name}")
        self._logs_messages = get_settings().log_level == "debug"  # asked once: it is the path of a transfer
        _settle_signals()
        self.transport.on_exit_request = self._exit_requested
        self.transport.loop.set_exception_handler(self._loop_failed)
        self.node = Node(self.transport.peers, self._dispatch, self._registry_lost, self.crash)
        self.node.open_to_clients = self._open_to_clients
        self.gate = Gate(self.node, start.name, self._dispatch, self.sender_of, MAX_MAILBOX)
        settings = get_settings()
        self.transport.peers.tokens = AccessTokens(
            settings.secret_key_base.get_secret_value(),
            settings.access_token_ttl_s,
            old_secrets=settings.old_secrets,
        )
        self.node.connection_lost = self._connection_lost
        self._start_message = start
        self._link = self.node.link(start.link_address, start.link_instance)
        self.spawn(self._start(start))

    async def _start(self, start: StartProcess) -> None:
        self.beat()  # from now on it can be told whether it hangs, in `init`, too
        self.spawn(self._beat())
        if start.registry_address:
            await self.node.join(start.registry_address, start.registry_instance)
        try:
            await self.init()
        except Ignore:
            self.stop(NORMAL)
            return
        self._is_initialised = True
        if start.registry_address:
            await self.node.join(start.registry_address, start.registry_instance, self.info())
        self.started()

    def started(self) -> None:
        """Tell the supervisor that this process is up."""
        self.node.cast_over(self._link, ProcessStarted(self.name, os.getpid(), self.transport.peers.instance.hex()))

    def info(self) -> ProcessInfo:
        """This process as the registry knows it."""
        return ProcessInfo(
            self.name,
            self.path,
            self.transport.peers.address,
            self.transport.peers.instance.hex(),
            os.getpid(),
            self._start_message.heartbeat_timeout_s,
        )

    # -- messages --------------------------------------------------------------------------------------------

    def _dispatch(self, message: Message, context: Context) -> None:
        if self._crashed:
            return  # what this process knows is not to be trusted any more; its end tells the caller
        handler = self._handlers.get(type(message))
        if handler is None:
            self.log.warning("unknown_message", message=type(message).__name__, peer=context.connection.peer_address)
            context.fail(UnknownMessage(f"{self.name} does not take {type(message).__name__}"))
        elif context.expired:
            context.fail(CallTimeout("The deadline passed before the call was begun"))
        elif self._mailbox >= MAX_MAILBOX and not message.is_control:
            self._refuse(message, context)
        else:
            self._handle(handler, message, context)

    def _handle(self, handler: Callable[..., Any], message: Message, context: Context) -> None:
        if context.is_call:
            self._mailbox += 1
            context.connection.open_calls += 1
            context.on_answered = self._answered
        token = request_id.set(context.request_id)
        if self._logs_messages and not message.is_control:
            self.log.debug("message_received", message=type(message).__name__)
        try:
            result = handler(self, message, context)
            if result is None:
                pass  # it has answered, or will
            elif inspect.iscoroutine(result):
                if not context.is_call:
                    self._mailbox += 1  # until its work is done; a call counts until it is answered
                self.spawn(self._finish(result, context))
            else:
                context.reply(result)
        except BitNexusError as error:
            context.fail(error)
        except Exception as error:  # noqa: BLE001  # whatever a handler raises is this process's reason to end
            self.crash(error)
        finally:
            request_id.reset(token)

    def _refuse(self, message: Message, context: Context) -> None:
        if not context.is_call:
            self.node.losses.lost(self.name, message, "the mailbox is full")
        context.fail(Overloaded(f"the mailbox of {self.name} is full"))

    async def _finish(self, handler: Coroutine[Any, Any, Message | None], context: Context) -> None:
        try:
            result = await handler
            if result is not None:
                context.reply(result)
        except BitNexusError as error:
            context.fail(error)
        finally:
            if not context.is_call:
                self._mailbox -= 1

    def _answered(self, context: Context) -> None:
        if not context.connection.is_closed:  # else it was counted out when its caller went
            context.connection.open_calls -= 1
            self._mailbox -= 1

    @handles(StopProcess)
    def _stop_received(self, message: StopProcess, context: Context) -> None:  # noqa: ARG002
        self.stop(shutdown(message.reason) if message.reason else SHUTDOWN)

    @handles(GetMetrics, clients=True)
    def _metrics(self, message: GetMetrics, context: Context) -> Metrics:  # noqa: ARG002
        _mailbox.set(self.waiting)
        _in_flight.set(self.node.in_flight)
        return Metrics(self.name, generate_latest(REGISTRY).decode())

    @handles(TokensRevoked)
    def _tokens_revoked(self, message: TokensRevoked, context: Context) -> None:  # noqa: ARG002
        self.refuse_tokens(message)

    def refuse_tokens(self, message: TokensRevoked) -> None:
        """Take these access tokens from no client any more."""
        self.transport.peers.refuse(message.entries())

    def expose(self, *collectors: Collector) -> None:
        """Have these among the metrics of this process.

        What a module defines for the processes of one kind is made with ``registry=None``: all processes have imported
        it, being forks, and would show it.
        """
        for collector in collectors:
            REGISTRY.register(collector)

    # -- tasks -----------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `work` as a task of this process: an exception that escapes it ends the process."""
        task = self.transport.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.crash(error)

    def _loop_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # noqa: ARG002
        """Faults outside handlers and tasks: in a callback they end the process, in a socket they are logged."""
        error = context.get("exception")
        self.log.error("loop_exception", message=context.get("message"), exc_info=error)
        if isinstance(error, Exception) and "handle" in context:
            self.crash(error)

    async def _beat(self) -> None:
        loop = self.transport.loop
        timeout_s = self._start_message.heartbeat_timeout_s
        every_s = HEARTBEAT_S if timeout_s is None else min(HEARTBEAT_S, timeout_s / MISSED_HEARTBEATS)
        while True:
            due = loop.time() + every_s
            await asyncio.sleep(every_s)
            lag = max(0.0, loop.time() - due)
            _lag.set(lag)
            self.beat(lag)

    def beat(self, lag_s: float = 0.0) -> None:
        """Give the supervisor a sign of life."""
        beat = Heartbeat(self.name, os.getpid(), lag_s * 1000, self.waiting, self.gate.is_suspended)
        try:
            self.node.cast_over(self._link, beat)
        except Overloaded:
            self.log.warning("heartbeat_dropped")

    # -- the end ---------------------------------------------------------------------------------------------

    def stop(self, reason: ExitReason = SHUTDOWN, *, within_s: float | None = None) -> None:
        """End in order: `terminate` (cut off after `within_s`), last words, exit."""
        if not self._stopping:
            self._stopping = True
            self.gate.close()  # what comes now is for its successor: callers repeat it
            self._ending = self.transport.loop.create_task(self._stop(reason, within_s))

    def _exit_requested(self) -> None:
        """SIGTERM, or Thespian's word for it: no supervisor asked, so nobody else minds the time."""
        self.stop(shutdown("exit request"), within_s=self._start_message.stop_within_s)

    async def _stop(self, reason: ExitReason, within_s: float | None) -> None:
        code = 0
        try:
            if self._is_initialised:
                async with asyncio.timeout(within_s):
                    await self.terminate(reason)
        except Exception as error:  # the process ends either way: the reason says how
            self.log.exception("terminate_failed")
            reason, code = raised(error), EXIT_CRASHED
        await self._exit(reason, code)

    def crash(self, error: BaseException) -> None:
        """End now, with `error` as the reason: nothing more is received, nothing more is done."""
        if self._stopping:
            self.log.error("error_while_stopping", exc_info=error)
            return
        self._crashed = self._stopping = True
        self.log.critical("process_crashed", exc_info=error)
        for task in self._tasks:
            task.cancel()
        self._ending = self.transport.loop.create_task(self._exit(raised(error), EXIT_CRASHED))

    async def _exit(self, reason: ExitReason, code: int) -> None:
        try:
            self.node.cast_over(self._link, ProcessExiting(self.name, os.getpid(), list(reason.encode())))
        except Overloaded:
            self.log.warning("last_words_dropped")
        await self.transport.peers.drain(_LAST_WORDS_S)
        os._exit(code)

    def _registry_lost(self) -> None:
        # The registry is the root supervisor: without it the whole tree ends.
        if not self._stopping:
            os._exit(EXIT_UNLINKED)

    def _connection_lost(self, connection: Connection) -> None:
        self._mailbox -= connection.open_calls  # their callers are gone
        if connection is self._link and not self._stopping:
            self.link_lost()

    def link_lost(self) -> None:
        """The supervisor is gone: so is this process."""
        os._exit(EXIT_UNLINKED)


def _settle_signals() -> None:
    """Undo what Thespian does to signals, where it does harm; SIGTERM and SIGCHLD are its (see transport)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the launcher, which stops the tree in order
    for fault in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP):
        signal.signal(fault, signal.SIG_DFL)  # caught, it would fault again for ever instead of ending the process

"""A process's view of its node: calls, casts and monitors by name.

Names are resolved at each call, so a restarted process is found again. A call is answered exactly once: by the reply,
by the callee's error, or by NoProcess, ProcessDown or CallTimeout. With ``retry=True`` (idempotent messages only) the
call is repeated, with the same message, to every successor of a process that dies, until its deadline; the caller sees
CallTimeout at worst.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from bitnexus.actors.runtime import incoming, wire
from bitnexus.actors.runtime.calls import OnReply, OpenCall, OpenCalls
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.enrolment import Enrolment
from bitnexus.actors.runtime.known_names import KnownNames
from bitnexus.actors.runtime.liveness import HEARTBEAT_S, Liveness
from bitnexus.actors.runtime.losses import Losses
from bitnexus.actors.runtime.message import Message, NamesChanged, ProcessInfo
from bitnexus.actors.runtime.names import NameTable
from bitnexus.actors.runtime.peers import Peers
from bitnexus.config.correlation import request_id
from bitnexus.errors import (
    BitNexusError,
    CallTimeout,
    Moved,
    NoProcess,
    Overloaded,
    ProcessDown,
    UnknownMessage,
    by_code,
)

Dispatch = Callable[[Message, Context], None]

DEFAULT_TIMEOUT_S = 5.0
#: How exact deadlines are kept.
_SWEEP_S = 0.05
#: The longest correlation id that is taken from a client.
_MAX_TRACE = 128

log = structlog.get_logger("bitnexus.runtime")


class Node(KnownNames):
    """Made once per process, on its peers.

    `dispatch` takes what others send to this process; `on_fault` an exception that escaped a callback of its code;
    `on_registry_lost` hears that the registry is gone.
    """

    def __init__(
        self,
        peers: Peers,
        dispatch: Dispatch,
        on_registry_lost: Callable[[], None],
        on_fault: Callable[[Exception], None],
    ) -> None:
        self._peers = peers
        self._loop = peers.loop
        self._dispatch = dispatch
        self._on_registry_lost = on_registry_lost
        self._on_fault = on_fault
        self._names = NameTable(self._name_up)
        self._enrolment = Enrolment(self._names, self._ask, peers.loop)
        self._calls = OpenCalls()
        self._sweeping = False
        self._liveness = Liveness(peers)
        #: Of those who have been sent something by name: who held the name then, and the connection to it.
        self._connections: dict[str, tuple[ProcessInfo, Connection]] = {}
        self.losses = Losses(peers.loop)
        #: Asked for the name of whom a repeatable call is sent to again: (name, message) → name.
        self.reroute: Callable[[str, Message], str] | None = None
        #: What clients may send to this process (see access.py).
        self.open_to_clients: frozenset[type[Message]] = frozenset()
        #: Called for each connection that ends, after its calls have been dealt with.
        self.connection_lost: Callable[[Connection], None] | None = None
        peers.on_items = self._items_received
        peers.on_closed = self._connection_closed

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The process's loop."""
        return self._loop

    @property
    def in_flight(self) -> int:
        """Calls of this process that wait for their answer."""
        return len(self._calls)

    def dispatch_by(self, dispatch: Dispatch) -> None:
        """From now on `dispatch` takes what others send to this process."""
        self._dispatch = dispatch

    def statistics(self) -> dict[str, Any]:
        """Numbers for operators."""
        return {"in_flight": len(self._calls), "parked": self._calls.parked_count()}

    # -- calls that wait -------------------------------------------------------------------------------------

    def fail_calls(self, error: BitNexusError) -> None:
        """Answer every call that waits by `error`."""
        for call in self._calls.take_all():
            self._guarded(call.on_reply, error)

    def send_waiting(self, name: str) -> None:
        """Send the calls that wait for `name`, in order, to whom `reroute` says now."""
        self._send_parked(name)

    def disconnect(self, name: str, reason: str) -> None:
        """Close the connection to who holds `name`: repeatable calls that are under way to it are sent again."""
        info = self._names.get(name)
        if info is not None:
            self._peers.forget(info.address, reason)

    # -- sending ---------------------------------------------------------------------------------------------

    async def call(
        self, name: str, message: Message, *, timeout_s: float = DEFAULT_TIMEOUT_S, retry: bool = False
    ) -> Message:
        """Send `message` to `name` and wait for the answer.

        Raises CallTimeout, NoProcess, ProcessDown, Overloaded (before any effect) or the callee's own error.
        """
        answer: asyncio.Future[Message | BitNexusError] = self._loop.create_future()

        def on_reply(result: Message | BitNexusError) -> None:
            if not answer.done():
                answer.set_result(result)

        call = self._request(name, message, on_reply, timeout_s, retry=retry)
        try:
            return _raise_if_error(await answer)
        finally:
            self._give_up(call)

    def request(
        self,
        name: str,
        message: Message,
        on_reply: OnReply,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: bool = False,
    ) -> None:
        """As `call`, without a task: `on_reply` is called once with the reply or the error. Raises Overloaded.

        An exception that escapes `on_reply` ends the process.
        """
        self._request(name, message, on_reply, timeout_s, retry=retry)

    def cast(self, name: str, message: Message) -> bool:
        """Send without waiting; at most once: it is lost when nobody holds `name` or its process dies.

        False when it is known to be lost: there is nobody, or too much waits to be sent. The latter is counted and
        logged; who must not lose anything calls.
        """
        info = self._names.get(name)
        if info is None:
            return False
        try:
            self.cast_over(self._connection_of(info), message)
        except Overloaded:
            self.losses.lost(name, message, "too much waits to be sent")
            return False
        return True

    def cast_over(self, connection: Connection, message: Message) -> None:
        """Cast over a given connection: to a linked process, whatever its name. Raises Overloaded."""
        item = wire.encode_cast(request_id.get(), message)
        if message.is_control:
            connection.post_control(item)
        else:
            connection.post(item)

    def link(self, address: str, instance: str) -> Connection:
        """A connection to one very process, kept for its life; `instance` in hexadecimal digits."""
        return self._peers.connection_to(address, bytes.fromhex(instance))

    def _connection_of(self, info: ProcessInfo) -> Connection:
        known = self._connections.get(info.name)
        if known is not None and known[0] is info and not known[1].is_closed:
            return known[1]
        connection = self._connect(info)
        self._connections[info.name] = info, connection
        return connection

    def _connect(self, info: ProcessInfo) -> Connection:
        connection = self.link(info.address, info.instance)
        if connection.silence_limit_s is None and info.heartbeat_timeout_s is not None:
            # One heartbeat later than its supervisor, who knows better.
            connection.silence_limit_s = info.heartbeat_timeout_s + HEARTBEAT_S
            self._liveness.watch()
        return connection

    def _request(self, name: str, message: Message, on_reply: OnReply, timeout_s: float, *, retry: bool) -> OpenCall:
        call = self._calls.open(name, message, on_reply, deadline=self._loop.time() + timeout_s, retry=retry)
        self._watch_deadlines()
        try:
            self._send(call)
        except Overloaded:
            self._calls.close(call.ref)
            raise
        return call

    def _send(self, call: OpenCall) -> None:
        info = self._names.get(call.name)
        if info is not None:
            self._send_over(self._connection_of(info), call)
        elif call.retry:
            self._calls.park(call)
            self._enrolment.resynchronise_soon()
        else:
            self._loop.call_soon(self._answer, call.ref, NoProcess(f"no process {call.name!r}"))

    def _send_over(self, connection: Connection, call: OpenCall) -> None:
        ttl_ms = max(1, int((call.deadline - self._loop.time()) * 1000))
        item = wire.encode_call(call.ref, ttl_ms, call.trace, call.message)
        if call.message.is_control:
            connection.post_control(item)
        else:
            connection.post(item)
        call.connection = connection

    def _send_again(self, call: OpenCall) -> None:
        if self.reroute is not None:
            call.name = self.reroute(call.name, call.message)
        try:
            self._send(call)
        except Overloaded:
            # It was accepted once, so Overloaded would lie: it may have had its effect. The sweep tries again.
            self._calls.park(call)

    def _ask(self, registry: Connection, message: Message, on_reply: OnReply) -> None:
        """A call to the registry, which has no name before it is joined. Raises Overloaded."""
        call = self._calls.open("", message, on_reply, deadline=self._loop.time() + DEFAULT_TIMEOUT_S)
        self._watch_deadlines()
        self._send_over(registry, call)

    # -- receiving -------------------------------------------------------------------------------------------

    def _items_received(self, connection: Connection, items: list[wire.Item]) -> None:
        for item in items:
            if connection.is_closed:
                return  # by what an item before this one led to: nobody could be answered
            if isinstance(item, wire.Call):
                self._call_received(connection, item)
            elif isinstance(item, wire.Reply):
                self._reply_received(connection, item)
            elif isinstance(item, wire.Cast):
                self._cast_received(connection, item)
            elif isinstance(item, wire.Cancel):
                incoming.withdraw(connection, item.ref)
            elif self._is_answer(connection, item.ref):
                self._failure_received(item)

    def _call_received(self, connection: Connection, item: wire.Call) -> None:
        if item.ref in connection.cancelled_early:
            del connection.cancelled_early[item.ref]
            return  # nobody waits for an answer
        trace = item.trace if connection.client is None else item.trace[:_MAX_TRACE]
        context = Context(connection, item.ref, self._loop.time() + item.ttl_ms / 1000, trace, self._loop)
        try:
            message = wire.decode_message(item.body)
        except UnknownMessage as error:
            context.fail(error)
            return
        context.is_control = message.is_control
        connection.taken[item.ref] = context
        if connection.client is None or incoming.is_permitted(
            connection.client, message, context, self.open_to_clients
        ):
            self._dispatch(message, context)

    def _is_answer(self, connection: Connection, ref: int) -> bool:
        """Whether the call is open and was sent over this connection: nobody answers for another.

        Late answers are dropped here: their callers have theirs already.
        """
        call = self._calls.get(ref)
        return call is not None and call.connection is connection

    def _cast_received(self, connection: Connection, item: wire.Cast) -> None:
        if connection.client is not None:
            connection.close("a client only calls")
            return
        try:
            message = wire.decode_message(item.body)
        except UnknownMessage as error:
            log.warning("unknown_cast", peer=connection.peer_address, error=error.detail)
            return
        if isinstance(message, NamesChanged):
            self._guarded(self._names.change, message)
        else:
            self._dispatch(message, Context(connection, None, None, item.trace, self._loop))

    def _reply_received(self, connection: Connection, item: wire.Reply) -> None:
        call = self._calls.get(item.ref)
        if call is None or call.connection is not connection:
            return  # as in _is_answer
        try:
            result: Message | BitNexusError = wire.decode_message(item.body)
        except UnknownMessage as error:
            result = error
        self._calls.close(item.ref)
        self._guarded(call.on_reply, result)

    def _failure_received(self, item: wire.Failure) -> None:
        call = self._calls.get(item.ref)
        if call is not None and call.retry and item.code == Moved.code and self.reroute is not None:
            self._calls.park(call)  # the sweep sends it to whoever it is for by then
        else:
            self._answer(item.ref, by_code(item.code, item.detail))

    def _answer(self, ref: int, result: Message | BitNexusError) -> None:
        call = self._calls.close(ref)
        if call is not None:
            self._guarded(call.on_reply, result)

    def _give_up(self, call: OpenCall) -> None:
        """Nobody waits for this call any more; nothing happens when it is over."""
        if self._calls.close(call.ref) is not None and call.connection is not None:
            call.connection.cancel(call.ref)

    def _guarded(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001  # whatever the process's code raises here is its reason to end
            self._on_fault(error)

    # -- time and death --------------------------------------------------------------------------------------

    def _watch_deadlines(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        for call in self._calls.expire(self._loop.time()):
            if call.connection is not None:
                call.connection.cancel(call.ref)
            self._guarded(call.on_reply, CallTimeout(f"{call.target} did not answer in time"))
        for name in self._calls.awaited_names():
            self._enrolment.resynchronise_soon()
            if self._names.get(name) is not None:
                self._send_parked(name)
        self._sweeping = False
        if len(self._calls):
            self._watch_deadlines()

    def _name_up(self, info: ProcessInfo) -> None:
        self._send_parked(info.name)

    def _send_parked(self, name: str) -> None:
        for call in self._calls.unpark(name):
            self._send_again(call)

    def _connection_closed(self, connection: Connection, reason: str) -> None:
        if connection.dialled:
            for info in self._names.at(connection.peer_address):
                if connection.may_lead_to(bytes.fromhex(info.instance)):
                    self._guarded(self._names.down, info)
                    self._enrolment.resynchronise_soon()
            for call in self._calls.over(connection):
                if call.retry:
                    self._send_again(call)
                else:
                    self._answer(call.ref, connection.refusal or ProcessDown(f"{call.target}: {reason}"))
        if self._enrolment.ended_with(connection):
            self._on_registry_lost()
        if self.connection_lost is not None:
            self.connection_lost(connection)


def _raise_if_error(result: Message | BitNexusError) -> Message:
    if isinstance(result, BitNexusError):
        raise result
    return result

"""A process's view of its node: calls, casts and monitors by name.

Names are resolved at each call, so a restarted process is found again. A call is answered exactly once: by the reply, by
the callee's error, or by NoProcess, ProcessDown or CallTimeout. With ``retry=True`` (idempotent messages only) the call is
repeated, with the same message, to every successor of a process that dies, until its deadline; the caller sees
CallTimeout at worst.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from bitnexus.actors.runtime import wire
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import GetNames, Message, Names, NamesChanged, ProcessInfo, Register
from bitnexus.actors.runtime.transport import Transport
from bitnexus.config.correlation import request_id
from bitnexus.errors import (
    BitNexusError,
    CallTimeout,
    NoProcess,
    Overloaded,
    ProcessDown,
    UnknownMessage,
    by_code,
)

OnReply = Callable[[Message | BitNexusError], None]
Dispatch = Callable[[Message, Context], None]
OnName = Callable[[ProcessInfo], None]

DEFAULT_TIMEOUT_S = 5.0
#: How exact deadlines are kept.
_SWEEP_S = 0.05
#: While a call waits for a name, the table of names is asked for this often (a lost announcement must not stall it).
_RESYNC_S = 0.25

log = structlog.get_logger("bitnexus.runtime")


class _Pending:
    """A call without an answer yet."""

    __slots__ = ("connection", "deadline", "message", "name", "on_reply", "ref", "retry", "trace")

    def __init__(self, name: str, message: Message, on_reply: OnReply, deadline: float, *, retry: bool) -> None:
        self.name = name
        self.message = message
        self.on_reply = on_reply
        self.deadline = deadline
        self.retry = retry
        self.trace = request_id.get()
        self.ref = 0
        self.connection: Connection | None = None


class Node:
    """Made once per process, on its transport. `dispatch` takes what others send to this process."""

    def __init__(self, transport: Transport, dispatch: Dispatch, on_registry_lost: Callable[[], None]) -> None:
        self._transport = transport
        self._loop = transport.loop
        self._dispatch = dispatch
        self._on_registry_lost = on_registry_lost
        self._registry: Connection | None = None
        self._names: dict[str, ProcessInfo] = {}
        self._pending: dict[int, _Pending] = {}
        self._parked: dict[str, list[_Pending]] = {}
        self._monitors: list[tuple[str, OnName | None, OnName | None]] = []
        self._next_ref = 0
        self._sweeping = False
        self._next_resync = 0.0
        self.connection_lost: Callable[[Connection], None] | None = None
        transport.items_handler = self._items_received
        transport.closed_handler = self._connection_closed

    # -- names -----------------------------------------------------------------------------------------------

    async def join(self, registry_address: str, registry_instance: str, info: ProcessInfo | None = None) -> None:
        """Learn the node's names, and with `info` take one's own; raises CallTimeout or ProcessDown."""
        connection = self._transport.connection_to(registry_address, bytes.fromhex(registry_instance))
        self._registry = connection
        names = await self._call_over(connection, Register(info))
        assert isinstance(names, Names)
        self._synchronise(names.processes)

    def whereis(self, name: str) -> ProcessInfo | None:
        """The process that holds `name` now, or None."""
        return self._names.get(name)

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._names)

    def monitor(self, name: str, on_up: OnName | None = None, on_down: OnName | None = None) -> None:
        """Be told of every registration and every death of `name`; `on_up` at once when it is there."""
        self._monitors.append((name, on_up, on_down))
        info = self._names.get(name)
        if info is not None and on_up is not None:
            on_up(info)

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

        pending = self._request(name, message, on_reply, timeout_s, retry=retry)
        try:
            result = await answer
        finally:
            self._pending.pop(pending.ref, None)
        if isinstance(result, BitNexusError):
            raise result
        return result

    def request(
        self, name: str, message: Message, on_reply: OnReply, *, timeout_s: float = DEFAULT_TIMEOUT_S, retry: bool = False
    ) -> None:
        """As `call`, without a task: `on_reply` is called once with the reply or the error. Raises Overloaded."""
        self._request(name, message, on_reply, timeout_s, retry=retry)

    def cast(self, name: str, message: Message) -> bool:
        """Send without waiting; at most once: it is lost when nobody holds `name` or its process dies.

        False when it is known to be lost: there is nobody, or too much waits to be sent.
        """
        info = self._names.get(name)
        if info is None:
            return False
        try:
            self._connection_of(info).post(wire.encode_item(wire.Cast, request_id.get(), message=message))
        except Overloaded:
            log.warning("cast_dropped", to=name, message=type(message).__name__)
            return False
        return True

    @property
    def in_flight(self) -> int:
        """Calls of this process that wait for their answer."""
        return len(self._pending)

    def _request(self, name: str, message: Message, on_reply: OnReply, timeout_s: float, *, retry: bool) -> _Pending:
        pending = _Pending(name, message, on_reply, self._loop.time() + timeout_s, retry=retry)
        self._next_ref += 1
        pending.ref = self._next_ref
        self._pending[pending.ref] = pending
        try:
            self._send(pending)
        except Overloaded:
            del self._pending[pending.ref]
            raise
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP_S, self._sweep)
        return pending

    def _send(self, pending: _Pending) -> None:
        info = self._names.get(pending.name)
        if info is not None:
            connection = self._connection_of(info)
            ttl_ms = max(1, int((pending.deadline - self._loop.time()) * 1000))
            connection.post(
                wire.encode_item(wire.Call, pending.ref, ttl_ms, pending.trace, message=pending.message)
            )
            pending.connection = connection
        elif pending.retry:
            self._parked.setdefault(pending.name, []).append(pending)
        else:
            self._loop.call_soon(self._answer, pending.ref, NoProcess(f"no process {pending.name!r}"))

    def _connection_of(self, info: ProcessInfo) -> Connection:
        return self._transport.connection_to(info.address, bytes.fromhex(info.instance))

    async def _call_over(self, connection: Connection, message: Message) -> Message:
        """A call over a given connection (to the registry, which has no name before it is joined)."""
        answer: asyncio.Future[Message | BitNexusError] = self._loop.create_future()
        pending = _Pending("", message, answer.set_result, self._loop.time() + DEFAULT_TIMEOUT_S, retry=False)
        self._next_ref += 1
        pending.ref = self._next_ref
        pending.connection = connection
        self._pending[pending.ref] = pending
        connection.post(
            wire.encode_item(wire.Call, pending.ref, int(DEFAULT_TIMEOUT_S * 1000), "", message=message)
        )
        try:
            result = await asyncio.wait_for(answer, DEFAULT_TIMEOUT_S)
        except TimeoutError:
            raise CallTimeout("the registry does not answer") from None
        finally:
            self._pending.pop(pending.ref, None)
        if isinstance(result, BitNexusError):
            raise result
        return result

    # -- receiving -------------------------------------------------------------------------------------------

    def _items_received(self, connection: Connection, items: list[wire.Item]) -> None:
        for item in items:
            if isinstance(item, wire.Call):
                self._call_received(connection, item)
            elif isinstance(item, wire.Reply):
                self._reply_received(item)
            elif isinstance(item, wire.Cast):
                self._cast_received(connection, item)
            else:
                self._answer(item.ref, by_code(item.code, item.detail))

    def _call_received(self, connection: Connection, item: wire.Call) -> None:
        context = Context(connection, item.ref, self._loop.time() + item.ttl_ms / 1000, item.trace, self._loop)
        try:
            message = wire.decode_message(item.body)
        except UnknownMessage as error:
            context.fail(error)
            return
        self._dispatch(message, context)

    def _cast_received(self, connection: Connection, item: wire.Cast) -> None:
        try:
            message = wire.decode_message(item.body)
        except UnknownMessage as error:
            log.warning("unknown_cast", peer=connection.peer_address, error=error.detail)
            return
        if isinstance(message, NamesChanged):
            self._names_changed(message)
        else:
            self._dispatch(message, Context(connection, None, None, item.trace, self._loop))

    def _reply_received(self, item: wire.Reply) -> None:
        if item.ref in self._pending:  # else it is late: its caller has its answer already
            try:
                self._answer(item.ref, wire.decode_message(item.body))
            except UnknownMessage as error:
                self._answer(item.ref, error)

    def _answer(self, ref: int, result: Message | BitNexusError) -> None:
        pending = self._pending.pop(ref, None)
        if pending is not None:
            pending.on_reply(result)

    # -- time and death --------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        now = self._loop.time()
        for pending in [each for each in self._pending.values() if each.deadline <= now]:
            self._answer(pending.ref, CallTimeout(f"{pending.name or 'the registry'} did not answer in time"))
        for name, parked in list(self._parked.items()):
            self._parked[name] = [each for each in parked if each.ref in self._pending]
            if not self._parked[name]:
                del self._parked[name]
        if self._parked and now >= self._next_resync and self._registry is not None:
            self._next_resync = now + _RESYNC_S
            self._loop.create_task(self._resync(self._registry))
        self._sweeping = bool(self._pending)
        if self._sweeping:
            self._loop.call_later(_SWEEP_S, self._sweep)

    async def _resync(self, registry: Connection) -> None:
        try:
            names = await self._call_over(registry, GetNames())
        except BitNexusError as error:
            log.warning("names_not_answered", error=error.detail)
            return
        assert isinstance(names, Names)
        self._synchronise(names.processes)

    def _connection_closed(self, connection: Connection, reason: str) -> None:
        if connection.dialled:
            for info in [each for each in self._names.values() if each.address == connection.peer_address]:
                if connection.is_to(bytes.fromhex(info.instance)):
                    self._down(info)
        for pending in [each for each in self._pending.values() if each.connection is connection]:
            pending.connection = None
            if pending.retry:
                self._resend(pending)
            else:
                self._answer(pending.ref, ProcessDown(f"{pending.name or 'the registry'}: {reason}"))
        if connection is self._registry:
            self._registry = None
            self._on_registry_lost()
        if self.connection_lost is not None:
            self.connection_lost(connection)

    def _resend(self, pending: _Pending) -> None:
        try:
            self._send(pending)
        except Overloaded as error:
            self._answer(pending.ref, error)

    def _names_changed(self, change: NamesChanged) -> None:
        for info in change.down:
            self._down(info)
        for info in change.up:
            self._up(info)

    def _synchronise(self, processes: list[ProcessInfo]) -> None:
        present = {info.name: info for info in processes}
        for info in [each for each in self._names.values() if each.name not in present]:
            self._down(info)
        for info in processes:
            self._up(info)

    def _up(self, info: ProcessInfo) -> None:
        known = self._names.get(info.name)
        if known == info:
            return
        if known is not None:
            self._down(known)
        self._names[info.name] = info
        for name, on_up, _ in self._monitors:
            if name == info.name and on_up is not None:
                on_up(info)
        for pending in self._parked.pop(info.name, []):
            if pending.ref in self._pending:
                self._resend(pending)

    def _down(self, info: ProcessInfo) -> None:
        if self._names.get(info.name) != info:
            return
        del self._names[info.name]
        for name, _, on_down in self._monitors:
            if name == info.name and on_down is not None:
                on_down(info)

    def cast_over(self, connection: Connection, message: Message) -> None:
        """Cast over a given connection: to a linked process, whatever its name. Raises Overloaded."""
        connection.post(wire.encode_item(wire.Cast, request_id.get(), message=message))

    def link(self, address: str, instance: str) -> Connection:
        """A connection to one very process, kept for its life."""
        return self._transport.connection_to(address, bytes.fromhex(instance))

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The process's loop."""
        return self._loop

    def statistics(self) -> dict[str, Any]:
        """Numbers for operators."""
        return {"in_flight": len(self._pending), "parked": sum(map(len, self._parked.values()))}

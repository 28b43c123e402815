"""Thespian's transport on asyncio: the process's loop, its listening socket, its connections.

`run` drives the loop. Thespian's own messages (envelopes) stop the loop and are handled between two runs of it, so that
an actor may fork a child without forking a running loop; application messages (batches) are handled inside the loop and
never stop it. See docs/adr/0002.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from thespian.actors import ActorAddress, ActorExitRequest
from thespian.system.addressManager import ActorLocalAddress, CannotPickleAddress
from thespian.system.messages.convention import CONV_ADDR_IPV4_CAPABILITY
from thespian.system.messages.multiproc import ChildMayHaveDied
from thespian.system.timing import ExpirationTimer
from thespian.system.transport import (
    ExternalInterfaceTransportInit,
    ReceiveEnvelope,
    SendStatus,
    Thespian__Run_Expired,
    Thespian__Run_HandlerResult,
    Thespian__Run_Terminated,
    TransmitIntent,
    TransmitOnly,
)
from thespian.system.transport.IPBase import TCPv4ActorAddress
from thespian.system.transport.wakeupTransportBase import wakeupTransportBase

from bitnexus.actors.runtime import forking, wire
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.frames import DEFAULT_LIMIT
from bitnexus.actors.runtime.handshake import INSTANCE_SIZE
from bitnexus.actors.runtime.loops import new_event_loop
from bitnexus.config import get_settings, node_cookie

DEFAULT_ADMIN_PORT = 1900
#: Connections that have not shown the cookie yet; one more is closed at once.
MAX_STRANGERS = 128
_DELIVERED = {"sent": SendStatus.Sent, "rejected": SendStatus.BadPacket, "dead": SendStatus.DeadTarget}

log = structlog.get_logger("bitnexus.runtime")


class Endpoint:
    """Handed to a new process: who it is and whom it belongs to (Thespian calls this an endpoint)."""

    def __init__(
        self, instance_number: int | None, address: ActorAddress | None, parent: ActorAddress, admin: ActorAddress
    ) -> None:
        self.addrInst = instance_number
        self.assigned = address
        self.parent = parent
        self.admin = admin
        self.creator_pid = os.getpid()


class ExternalCopy:
    """Makes a transport of its own for another thread of an outside process."""


class Transport(wakeupTransportBase):  # type: ignore[misc]  # Thespian has no type hints
    """One per process (and one per thread for outside users of Thespian's API)."""

    def __init__(self, origin: object, *args: Any) -> None:
        super().__init__()
        self._parentAddr: ActorAddress | None = None
        port = 0
        if isinstance(origin, ExternalInterfaceTransportInit):
            self._adminAddr = self.getAdminAddr(args[0])
        elif isinstance(origin, ExternalCopy):
            (self._adminAddr,) = args
        elif isinstance(origin, Endpoint):
            self._parentAddr, self._adminAddr = origin.parent, origin.admin
            forking.cut_inherited_sockets()
            if origin.assigned is None:
                forking.die_with_parent(origin.creator_pid)
            else:  # the admin: it is given its address, and outlives the process that made it
                port = origin.assigned.addressDetails.sockname[1]
        else:
            msg = f"a transport cannot be made from {origin!r}"
            raise TypeError(msg)
        self.host = get_settings().node_host
        self.cookie = node_cookie(get_settings())
        self.instance = secrets.token_bytes(INSTANCE_SIZE)
        self.frame_limit = DEFAULT_LIMIT
        self.loop = new_event_loop()
        asyncio.set_event_loop(self.loop)
        self._listen(port)
        self.run_time = ExpirationTimer(None)
        self._inbox: deque[ReceiveEnvelope] = deque()
        self._peers: dict[str, Connection] = {}
        self._connections: set[Connection] = set()
        self._strangers = 0
        self._unsent = 0  # envelopes whose fate is not known
        self._outside: deque[Callable[[], None]] = deque()
        self._abort: bool | None = None  # None: run on; False: stop now; True: stop when everything is sent
        self._check_children = False
        self._shutdown_signalled = False
        self._runner: int | None = None
        self._addressMgr: Any = None
        self.items_handler: Callable[[Connection, list[wire.Item]], None] | None = None
        self.closed_handler: Callable[[Connection, str], None] | None = None

    def _listen(self, port: int) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, port))
        self.port: int = listener.getsockname()[1]
        self.address = f"{self.host}:{self.port}"
        self.myAddress = self.getAddressFromString((self.host, self.port))
        self._server = self.loop.run_until_complete(self.loop.create_server(self._accept, sock=listener, backlog=256))

    # -- addresses -------------------------------------------------------------------------------------------

    @staticmethod
    def getAddressFromString(spec: Any, adminRouting: bool = False) -> ActorAddress:  # noqa: ARG004, FBT001, FBT002, N802, N803
        """A Thespian address from (host, port) or "host:port"; no host means this node's."""
        host, port = spec if isinstance(spec, tuple) else (spec.split(":") + [DEFAULT_ADMIN_PORT])[:2]
        return ActorAddress(TCPv4ActorAddress(host or get_settings().node_host, int(port), external=True))

    @classmethod
    def getConventionAddress(cls, capabilities: dict[str, Any]) -> list[ActorAddress] | None:  # noqa: N802
        """Addresses of the convention's leaders, if any."""
        spec = capabilities.get(CONV_ADDR_IPV4_CAPABILITY)
        if not spec:
            return None
        return [cls.getAddressFromString(each) for each in (spec if isinstance(spec, list) else [spec])]

    @classmethod
    def getAdminAddr(cls, capabilities: dict[str, Any]) -> ActorAddress:  # noqa: N802
        """Where the admin of an actor system with these capabilities listens."""
        return cls.getAddressFromString(("", capabilities.get("Admin Port", DEFAULT_ADMIN_PORT)))

    @staticmethod
    def probeAdmin(address: ActorAddress) -> bool:  # noqa: N802
        """Whether somebody listens where the admin would."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((get_settings().node_host, address.addressDetails.sockname[1]))
            except OSError:
                return True
            return False

    def setAddressManager(self, manager: Any) -> None:  # noqa: N802
        """Thespian's table of local addresses."""
        self._addressMgr = manager

    def deadAddress(self, manager: Any, address: ActorAddress) -> None:  # noqa: ARG002, N802
        """Thespian learned that this address is dead: fail what is on its way there."""
        connection = self._peers.get(self.endpoint_of(address))
        if connection is not None:
            connection.close("its process is dead")

    @staticmethod
    def endpoint_of(address: ActorAddress) -> str:
        """The "host:port" behind a Thespian address."""
        host, port = address.addressDetails.sockname[:2]
        if address.addressDetails.isLocalAddr():
            host = get_settings().node_host
        return f"{host}:{port}"

    # -- creating processes ----------------------------------------------------------------------------------

    def prepEndpoint(self, address: ActorAddress, capabilities: dict[str, Any]) -> Endpoint:  # noqa: ARG002, N802
        """What the process that is about to be forked must know."""
        details = address.addressDetails
        if isinstance(details, ActorLocalAddress):
            number, assigned = details.addressInstanceNum, None
            if number == -1:  # the logger
                number = None
        else:
            number, assigned = None, address
        return Endpoint(number, assigned, self.myAddress, self._adminAddr)

    def connectEndpoint(self, endpoint: Endpoint) -> None:  # noqa: ARG002, N802
        """The child reports by itself."""

    def external_transport_clone(self) -> Transport:
        """A transport of its own for another thread."""
        return type(self)(ExternalCopy(), self._adminAddr)

    def protectedFileNumList(self) -> list[int]:  # noqa: N802
        """Descriptors that must survive in this process; the fork's own clean-up needs none."""
        return []

    def childResetFileNumList(self) -> list[int]:  # noqa: N802
        """Descriptors a child closes: it cuts off all sockets by itself (see forking)."""
        return []

    # -- sending ---------------------------------------------------------------------------------------------

    def enableRXPauseFlowControl(self, enable: bool = True) -> None:  # noqa: FBT001, FBT002, N802
        """Receiving never pauses here: queues are bounded instead."""

    def scheduleTransmit(  # noqa: N802
        self, manager: Any, intent: TransmitIntent, has_exclusive_flag: bool = False  # noqa: ARG002, FBT001, FBT002
    ) -> None:
        """Send `intent`. Raises CannotPickleAddress while an address in it is not known yet."""
        if manager is not None:
            target, message = manager.prepMessageSend(intent.targetAddr, intent.message)
            if message is SendStatus.DeadTarget:  # a death notice to somebody dead: done
                intent.tx_done(SendStatus.Sent)
                return
            if target is None:
                raise CannotPickleAddress(intent.targetAddr)
            intent.changeTargetAddr(target)
            intent.changeMessage(message)
        body = pickle.dumps((self.myAddress, intent.message), pickle.HIGHEST_PROTOCOL)
        self._unsent += 1
        if self._runner is None or self._runner == threading.get_ident():
            self._transmit(intent, body)
        else:
            self.loop.call_soon_threadsafe(self._transmit, intent, body)

    def _transmit(self, intent: TransmitIntent, body: bytes) -> None:
        endpoint = self.endpoint_of(intent.targetAddr)
        if endpoint == self.address:
            self._inbox.append(ReceiveEnvelope(intent.targetAddr, intent.message))
            self._done(intent, "sent")
        elif intent.expired():
            self._done(intent, "dead")
        else:
            self.connection_to(endpoint).send_envelope(body, lambda outcome: self._done(intent, outcome))

    def _done(self, intent: TransmitIntent, outcome: str) -> None:
        self._unsent -= 1
        intent.tx_done(_DELIVERED[outcome])
        self._wake()

    def connection_to(self, address: str, instance: bytes = b"") -> Connection:
        """The connection to the process that listens at `address` ("host:port"), dialled when there is none.

        With `instance` only that very process is meant: should another one listen there now, the connection closes.
        """
        connection = self._peers.get(address)
        if connection is not None and not connection.is_to(instance):
            connection.close("a newer process listens there")
            connection = None
        if connection is None:
            connection = Connection(self, self.loop, dialled=True)
            connection.peer_address = address
            connection.expected_instance = instance
            self._peers[address] = connection
            self._connections.add(connection)
            self.loop.create_task(self._dial(connection), name=f"dial {address}")
        return connection

    async def _dial(self, connection: Connection) -> None:
        host, _, port = connection.peer_address.rpartition(":")
        try:
            await asyncio.wait_for(self.loop.create_connection(lambda: connection, host, int(port)), timeout=5)
        except (OSError, TimeoutError) as error:
            connection.close(f"cannot connect: {error}")

    # -- what connections report (connection.Endpoint) -------------------------------------------------------

    def _accept(self) -> Connection:
        connection = Connection(self, self.loop, dialled=False)
        if self._strangers >= MAX_STRANGERS:
            connection.is_closed = True  # aborted as soon as it is made
            return connection
        self._strangers += 1
        self._connections.add(connection)
        return connection

    def established(self, connection: Connection) -> None:
        """The peer knows the cookie."""
        if not connection.dialled:
            self._strangers -= 1

    def envelope_received(self, connection: Connection, body: bytes) -> bool:  # noqa: ARG002
        """Take one of Thespian's messages; False when it cannot be read here (its class is not known)."""
        try:
            sender, message = pickle.loads(body)  # noqa: S301  # after the handshake, from a process of this node
        except Exception:  # noqa: BLE001  # unpickling runs the message's own code: whatever it raises, the message is refused
            log.warning("unreadable_message", peer=connection.peer_address, exc_info=True)
            return False
        self._inbox.append(ReceiveEnvelope(sender, message))
        self._wake()
        return True

    def items_received(self, connection: Connection, items: list[wire.Item]) -> None:
        """Hand application messages to the process's node."""
        if self.items_handler is not None:
            self.items_handler(connection, items)

    def closed(self, connection: Connection, reason: str) -> None:
        """Forget the connection and tell whoever waits for it."""
        self._connections.discard(connection)
        if not connection.dialled and not connection.is_established:
            self._strangers -= 1
            log.warning("connection_refused", peer=connection.remote, reason=reason)
        if self._peers.get(connection.peer_address) is connection:
            del self._peers[connection.peer_address]
        if self.closed_handler is not None:
            self.closed_handler(connection, reason)

    # -- running ---------------------------------------------------------------------------------------------

    def interrupt_wait(self, signal_shutdown: bool = False, check_children: bool = False) -> None:  # noqa: FBT001, FBT002
        """Called by signal handlers."""
        self._shutdown_signalled |= signal_shutdown
        self._check_children |= check_children
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._wake)

    def outside_loop(self, action: Callable[[], None]) -> None:
        """Run `action` soon, while the loop is not running (a fork must not copy a running loop)."""
        self._outside.append(action)
        self._wake()

    def abort_run(self, drain: bool = False) -> None:  # noqa: FBT001, FBT002
        """Make `run` return; with `drain` when everything has been sent."""
        self._abort = drain
        self._wake()

    def _wake(self) -> None:
        if self.loop.is_running():
            self.loop.stop()

    def _next_envelope(self) -> ReceiveEnvelope | None:
        if self._check_children:
            self._check_children = False
            return ReceiveEnvelope(self.myAddress, ChildMayHaveDied())
        if self._shutdown_signalled:
            self._shutdown_signalled = False
            return ReceiveEnvelope(self.myAddress, ActorExitRequest())
        while self._outside:
            self._outside.popleft()()
        return self._inbox.popleft() if self._inbox else None

    def _runWithExpiry(self, handler: Any) -> Any:  # noqa: N802
        self._abort = None
        self._runner = threading.get_ident()
        try:
            if handler is TransmitOnly or isinstance(handler, TransmitOnly):
                return self._run_transmit_only()
            return self._run(handler)
        finally:
            self._runner = None

    def _run(self, handler: Any) -> Any:
        while True:
            while self._abort is None and (envelope := self._next_envelope()) is not None:
                if handler is None:
                    return envelope
                result = Thespian__Run_HandlerResult(handler(envelope))
                if not result:
                    return result
            if self._abort is False or (self._abort and not self._unsent):
                return Thespian__Run_Terminated()
            if self.run_time.view().expired():
                return Thespian__Run_Expired()
            self._run_loop()

    def _run_transmit_only(self) -> Any:
        before = self._unsent
        while self._unsent and self._unsent >= before:
            if self._abort is not None:
                return Thespian__Run_Terminated()
            if self.run_time.view().expired():
                return Thespian__Run_Expired()
            self._run_loop()
        return self._unsent

    def _run_loop(self) -> None:
        """Run the loop until something asks for attention or the time is up."""
        remaining = self.run_time.view().remainingSeconds()
        timer = None if remaining is None else self.loop.call_later(max(0.0, remaining), self.loop.stop)
        if self._check_children or self._shutdown_signalled or self._inbox or self._outside:
            self.loop.call_soon(self.loop.stop)  # one turn, so that connections make progress
        self.loop.run_forever()
        if timer is not None:
            timer.cancel()

    def addWakeup(self, period: timedelta, payload: object) -> None:  # noqa: N802
        """Thespian's wakeupAfter."""
        super().addWakeup(period, payload)
        self._wake()

    def _updateStatusResponse(self, response: Any) -> None:  # noqa: N802
        super()._updateStatusResponse(response)
        for envelope in self._inbox:
            response.addReceivedMessage(envelope.sender, self.myAddress, str(envelope.message))

    async def drain(self, timeout_s: float) -> None:
        """Wait until the peers have taken everything that was sent to them, but not longer than `timeout_s`."""
        deadline = self.loop.time() + timeout_s
        while any(connection.unsent for connection in self._connections) and self.loop.time() < deadline:
            await asyncio.sleep(0.002)

    def lostRemote(self, address: ActorAddress) -> None:  # noqa: N802
        """The convention says that this remote system is gone."""
        for connection in list(self._connections):
            if connection.peer_address == self.endpoint_of(address):
                connection.close("its system left the convention")

    def close(self) -> None:
        """Release everything; the transport cannot be used afterwards."""
        if self.loop.is_closed():
            return
        self._server.close()
        for connection in list(self._connections):
            connection.close("this process ends")
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

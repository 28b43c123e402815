"""Thespian's transport on asyncio: what Thespian asks of one, on top of this process's `Peers`.

`run` drives the loop. Thespian's own messages (envelopes) stop the loop and are handled between two runs of it, so that
an actor may fork a child without forking a running loop; application messages (batches) are handled inside the loop and
never stop it. See docs/adr/0002.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import structlog
from thespian.actors import ActorAddress, ActorExitRequest, WatchMessage
from thespian.system.addressManager import ActorLocalAddress, CannotPickleAddress
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
from thespian.system.transport.wakeupTransportBase import wakeupTransportBase

from bitnexus.actors.runtime import forking, membership, tls
from bitnexus.actors.runtime.addressing import ENDS_WITH_STARTER, Addressing, Endpoint, ExternalCopy
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.loops import new_event_loop
from bitnexus.actors.runtime.peers import Peers
from bitnexus.config import get_settings, node_cookie

#: Envelopes received and not handled; one more is refused.
MAX_INBOX: Final = 100_000
#: While envelopes are handled one after another, connections get a turn at least this often.
_TURN_EVERY_S: Final = 0.005
_CLOSING_TURNS: Final = 3
_DELIVERED: Final = {"sent": SendStatus.Sent, "rejected": SendStatus.BadPacket, "dead": SendStatus.DeadTarget}

log = structlog.get_logger("bitnexus.runtime")


class Transport(Addressing, wakeupTransportBase):  # type: ignore[misc]  # Thespian has no type hints
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
            else:  # the admin: it is given its address, and no child of the process that made it
                port = origin.assigned.addressDetails.sockname[1]
        else:
            msg = f"a transport cannot be made from {origin!r}"
            raise TypeError(msg)
        settings = get_settings()
        self.loop = new_event_loop()
        keys = membership.keys(node_cookie(settings))
        self.peers = Peers(self.loop, keys, self._envelope_received, tls.contexts(settings.node_tls))
        self.loop.run_until_complete(self.peers.listen(settings.node_host, port))
        self.myAddress = self.getAddressFromString((self.peers.host, self.peers.port))
        self.run_time = ExpirationTimer(None)
        #: Set by a Process: called for a request to exit (SIGTERM, or Thespian's message), inside or outside the loop.
        self.on_exit_request: Callable[[], None] | None = None
        #: Set by a Supervisor: called outside the loop when children may have died.
        self.on_child_death: Callable[[], None] | None = None
        self._inbox: deque[ReceiveEnvelope] = deque()
        self._posted: deque[tuple[TransmitIntent, bytes]] = deque()  # from whatever thread; the runner sends them
        self._unsent = 0  # envelopes under way: their fate is not known
        self._outside: deque[Callable[[], None]] = deque()
        self._watched: set[int] = set()  # descriptors an actor of Thespian's wants to be told of
        self._abort: bool | None = None  # None: run on; False: stop now; True: stop when everything is sent
        self._check_children = False
        self._exit_signalled = False
        self._runner: int | None = None
        if isinstance(origin, Endpoint) and origin.ends_with_starter:
            forking.end_when_alone(self.loop, origin.creator_pid)

    # -- addresses -------------------------------------------------------------------------------------------

    def setAddressManager(self, manager: Any) -> None:
        """Thespian's table of local addresses; it comes with every call that needs it."""

    def deadAddress(self, manager: Any, address: ActorAddress) -> None:
        """Thespian learned that this address is dead: fail what is on its way there."""
        known = manager.exportAddr(address)  # None: it was never created, so nothing is
        if known is not None:
            self._close_to(known, "its process is dead")

    def lostRemote(self, address: ActorAddress) -> None:
        """The convention says that this remote system is gone."""
        self._close_to(address, "its system left the convention")

    def _close_to(self, address: ActorAddress, reason: str) -> None:
        connection = self.peers.known_connection_to(self.address_behind(address))
        if connection is not None:
            connection.close(reason)

    # -- creating processes ----------------------------------------------------------------------------------

    def prepEndpoint(self, address: ActorAddress, capabilities: dict[str, Any]) -> Endpoint:
        """What the process that is about to be forked must know."""
        details = address.addressDetails
        if isinstance(details, ActorLocalAddress):
            number, assigned = details.addressInstanceNum, None
            if number == -1:  # the logger
                number = None
        else:
            number, assigned = None, address
        tied = assigned is not None and bool(capabilities.get(ENDS_WITH_STARTER))
        return Endpoint(number, assigned, self.myAddress, self._adminAddr, ends_with_starter=tied)

    def connectEndpoint(self, endpoint: Endpoint) -> None:
        """The child reports by itself."""

    def external_transport_clone(self) -> Transport:
        """A transport of its own for another thread."""
        return type(self)(ExternalCopy(), self._adminAddr)

    def protectedFileNumList(self) -> list[int]:
        """Descriptors that must survive in this process; the fork's own clean-up needs none."""
        return []

    def childResetFileNumList(self) -> list[int]:
        """Descriptors a child closes: it cuts off all sockets by itself (see forking)."""
        return []

    # -- sending ---------------------------------------------------------------------------------------------

    def enableRXPauseFlowControl(self, enable: bool = True) -> None:
        """Receiving never pauses here: queues are bounded instead."""

    def scheduleTransmit(
        self,
        manager: Any,
        intent: TransmitIntent,
        has_exclusive_flag: bool = False,
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
        self._posted.append((intent, pickle.dumps((self.myAddress, intent.message), pickle.HIGHEST_PROTOCOL)))
        if self._runner == threading.get_ident():
            self._transmit_posted()
        elif self._runner is not None:
            self.loop.call_soon_threadsafe(self._transmit_posted)

    def _transmit_posted(self) -> None:
        while self._posted:
            intent, body = self._posted.popleft()
            self._unsent += 1
            self._transmit(intent, body)

    def _transmit(self, intent: TransmitIntent, body: bytes) -> None:
        endpoint = self.address_behind(intent.targetAddr)
        if endpoint == self.peers.address:
            self._inbox.append(ReceiveEnvelope(intent.targetAddr, intent.message))
            self._done(intent, "sent")
        elif intent.expired():
            self._done(intent, "dead")
        else:
            self.peers.connection_to(endpoint).send_envelope(body, lambda outcome: self._done(intent, outcome))

    def _done(self, intent: TransmitIntent, outcome: str) -> None:
        self._unsent -= 1
        intent.tx_done(_DELIVERED[outcome])
        self._wake()

    def _envelope_received(self, connection: Connection, body: bytes) -> bool:
        if len(self._inbox) >= MAX_INBOX:
            log.warning("inbox_full", peer=connection.peer_address)
            return False
        try:
            sender, message = pickle.loads(body)  # noqa: S301  # after the handshake, from a process of this node
        except Exception:  # a message's own code runs: whatever it raises, this message is refused
            log.warning("unreadable_message", peer=connection.peer_address, exc_info=True)
            return False
        self._inbox.append(ReceiveEnvelope(sender, message))
        self._wake()
        return True

    # -- running ---------------------------------------------------------------------------------------------

    def interrupt_wait(self, signal_shutdown: bool = False, check_children: bool = False) -> None:
        """Called by signal handlers."""
        self._exit_signalled |= signal_shutdown
        self._check_children |= check_children
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._wake)

    def outside_loop(self, action: Callable[[], None]) -> None:
        """Run `action` soon, while the loop is not running (a fork must not copy a running loop)."""
        self._outside.append(action)
        self._wake()

    def abort_run(self, drain: bool = False) -> None:
        """Make `run` return; with `drain` when everything has been sent."""
        self._abort = drain
        self._wake()

    def _wake(self) -> None:
        # Without a runner somebody else runs the loop (the launcher): it has no use for envelopes.
        if self._runner is not None and self.loop.is_running():
            self.loop.stop()

    def _next_envelope(self) -> ReceiveEnvelope | None:
        if self._check_children:
            self._check_children = False
            if self.on_child_death is not None:
                self.on_child_death()
            return ReceiveEnvelope(self.myAddress, ChildMayHaveDied())
        if self._exit_signalled:
            self._exit_signalled = False
            self._inbox.appendleft(ReceiveEnvelope(self.myAddress, ActorExitRequest()))
        for _ in range(len(self._outside)):
            self._outside.popleft()()
        while self._inbox:
            envelope = self._inbox.popleft()
            if self.on_exit_request is None or not isinstance(envelope.message, ActorExitRequest):
                return envelope
            self.on_exit_request()
        return None

    def _runWithExpiry(self, handler: Any) -> Any:
        self._abort = None
        self._runner = threading.get_ident()
        try:
            self._transmit_posted()
            if handler is TransmitOnly or isinstance(handler, TransmitOnly):
                return self._run_transmit_only()
            return self._run(handler)
        finally:
            self._runner = None

    def _run(self, handler: Any) -> Any:
        turned_at = time.monotonic()
        while True:
            while self._abort is None and (envelope := self._next_envelope()) is not None:
                if handler is None:
                    return envelope
                result = Thespian__Run_HandlerResult(handler(envelope))
                if not result:
                    return result
                if time.monotonic() - turned_at > _TURN_EVERY_S:
                    self._turn()
                    turned_at = time.monotonic()
            if self._abort is False or (self._abort and not self._pending_sends()):
                return Thespian__Run_Terminated()
            if self.run_time.view().expired():
                return Thespian__Run_Expired()
            self._run_loop()
            turned_at = time.monotonic()

    def _run_transmit_only(self) -> Any:
        before = self._pending_sends()
        while (now := self._pending_sends()) and now >= before:
            if self._abort is not None:
                return Thespian__Run_Terminated()
            if self.run_time.view().expired():
                return Thespian__Run_Expired()
            self._run_loop()
        return self._pending_sends()

    def _pending_sends(self) -> int:
        return self._unsent + len(self._posted)

    def _run_loop(self) -> None:
        """Run the loop until something asks for attention or the time is up."""
        if self._check_children or self._exit_signalled or self._inbox or self._outside:
            self._turn()
            return
        remaining = self.run_time.view().remainingSeconds()
        timer = None if remaining is None else self.loop.call_later(remaining, self.loop.stop)
        self.loop.run_forever()
        if timer is not None:
            timer.cancel()

    def _turn(self) -> None:
        """One turn of the loop, so that connections make progress."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    # -- what else Thespian asks for -------------------------------------------------------------------------

    def addWakeup(self, period: timedelta, payload: object) -> None:
        """Thespian's wakeupAfter."""
        super().addWakeup(period, payload)
        self._wake()

    def set_watch(self, descriptors: list[int]) -> None:
        """Tell the actor, by WatchMessage, when one of these can be read; asked anew after each of its messages."""
        for descriptor in self._watched:
            self.loop.remove_reader(descriptor)
        self._watched = set(descriptors)
        for descriptor in self._watched:
            self.loop.add_reader(descriptor, self._readable, descriptor)

    def _readable(self, descriptor: int) -> None:
        # Once: until the actor has read, it would be readable again and again.
        self._watched.discard(descriptor)
        self.loop.remove_reader(descriptor)
        self._inbox.append(ReceiveEnvelope(self.myAddress, WatchMessage([descriptor])))
        self._wake()

    def _updateStatusResponse(self, response: Any) -> None:
        super()._updateStatusResponse(response)
        for envelope in self._inbox:
            response.addReceivedMessage(envelope.sender, self.myAddress, str(envelope.message))

    def close(self) -> None:
        """Release everything; the transport cannot be used afterwards."""
        if self.loop.is_closed():
            return
        self.peers.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        for _ in range(_CLOSING_TURNS):  # what was cancelled and closed ends in a turn of the loop each
            self._turn()
        self.loop.close()

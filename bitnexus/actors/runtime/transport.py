"""Thespian's transport on asyncio: what Thespian asks of one, on top of this process's `Peers`.

What runs the loop and hands out what came is in running.py; application messages (batches) have nothing to do with it.
See docs/adr/0002.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any, Final

import structlog
from thespian.actors import ActorAddress, WatchMessage
from thespian.system.addressManager import ActorLocalAddress, CannotPickleAddress
from thespian.system.transport import (
    ExternalInterfaceTransportInit,
    ReceiveEnvelope,
    SendStatus,
    TransmitIntent,
)

from bitnexus.actors.runtime import envelopes, forking, membership, tls
from bitnexus.actors.runtime.addressing import ENDS_WITH_STARTER, Addressing, Endpoint, ExternalCopy
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.loops import new_event_loop
from bitnexus.actors.runtime.peers import Peers
from bitnexus.actors.runtime.running import Running
from bitnexus.config import get_settings, node_cookie

#: Envelopes received and not handled; one more is refused.
MAX_INBOX: Final = 100_000
_CLOSING_TURNS: Final = 3
_DELIVERED: Final = {"sent": SendStatus.Sent, "rejected": SendStatus.BadPacket, "dead": SendStatus.DeadTarget}

log = structlog.get_logger("bitnexus.runtime")


class Transport(Addressing, Running):
    """One per process (and one per thread for outside users of Thespian's API)."""

    def __init__(self, origin: object, *args: Any) -> None:
        super().__init__()
        self._parentAddr: ActorAddress | None = None
        port, is_external = 0, True
        if isinstance(origin, ExternalInterfaceTransportInit):
            self._adminAddr = self.getAdminAddr(args[0])
        elif isinstance(origin, ExternalCopy):
            (self._adminAddr,) = args
        elif isinstance(origin, Endpoint):
            is_external = False
            self._parentAddr, self._adminAddr = origin.parent, origin.admin
            forking.leave_inherited_loop()
            forking.cut_inherited_sockets()
            if origin.assigned is None:
                forking.die_with_parent(origin.creator_pid)
            else:  # the admin: it is given its address, and no child of the process that made it
                port = origin.assigned.addressDetails.sockname[1]
        else:
            msg = f"a transport cannot be made from {origin!r}"
            raise TypeError(msg)
        settings = get_settings()
        self.loop = new_event_loop(for_single_answers=is_external)
        keys = membership.keys(node_cookie(settings))
        self.peers = Peers(self.loop, keys, self._envelope_received, tls.contexts(settings.node_tls))
        self._is_brief = self.peers.is_brief = is_external
        self.loop.run_until_complete(self.peers.listen(settings.node_host, port))
        self.myAddress = self.getAddressFromString((self.peers.host, self.peers.port))
        self._pickled_sender = envelopes.pickled_sender(self.myAddress)
        self._posted: deque[tuple[TransmitIntent, bytes]] = deque()  # from whatever thread; the runner sends them
        self._unsent = 0  # envelopes under way: their fate is not known
        self._watched: set[int] = set()  # descriptors an actor of Thespian's wants to be told of
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
        for connection in self.peers.known_connections_to(self.address_behind(address)):
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
        self._posted.append((intent, envelopes.encode(self._pickled_sender, intent.message)))
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
            self._take(ReceiveEnvelope(intent.targetAddr, intent.message))
            self._done(intent, "sent")
        elif intent.expired():
            self._done(intent, "dead")
        else:
            self.peers.route_to(endpoint).send_envelope(body, lambda outcome: self._done(intent, outcome))

    def _done(self, intent: TransmitIntent, outcome: str) -> None:
        self._unsent -= 1
        intent.tx_done(_DELIVERED[outcome])
        self._has_sent()

    def _pending_sends(self) -> int:
        return self._unsent + len(self._posted)

    def _envelope_received(self, connection: Connection, body: bytes) -> bool:
        if len(self._inbox) >= MAX_INBOX:
            log.warning("inbox_full", peer=connection.peer_address)
            return False
        try:
            sender, message = connection.envelopes.read(body)  # after the handshake, from a process of this node
        except Exception:  # a message's own code runs: whatever it raises, this message is refused
            log.warning("unreadable_message", peer=connection.peer_address, exc_info=True)
            return False
        self._take(ReceiveEnvelope(sender, message))
        return True

    # -- what else Thespian asks for -------------------------------------------------------------------------

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
        self._take(ReceiveEnvelope(self.myAddress, WatchMessage([descriptor])))

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

"""The polling sessions of one front: bounded in all and for each user."""

from __future__ import annotations

import secrets
from typing import Final

from bitnexus.errors import Overloaded
from bitnexus.http.channels.client import Channels
from bitnexus.http.channels.connected import Connected
from bitnexus.http.channels.messages import Deliver, Delivered, Polled
from bitnexus.http.channels.poll_body import messages_of
from bitnexus.http.channels.poll_session import GONE, PollSession
from bitnexus.http.channels.serializer import Serializer
from bitnexus.http.request_metrics import RequestMetrics
from bitnexus.principal import Principal

WINDOW_S: Final = 10.0
MAX_SESSIONS: Final = 10_000
#: A client that lost its session opens another: the oldest that nobody polls makes room.
MAX_OF_USER: Final = 20


class PollSessions:
    """`window_s` is how long a poll waits for something to come."""

    def __init__(
        self, channels: Channels, connected: Connected, metrics: RequestMetrics, *, window_s: float = WINDOW_S
    ) -> None:
        self.window_s = window_s
        self._channels = channels
        self._connected = connected
        self._metrics = metrics
        self._sessions: dict[str, PollSession] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._sessions)

    def open(self, principal: Principal, serializer: Serializer) -> str:
        """A new session; its id, which nobody can guess.

        Raises:
            Overloaded: there are as many as there may be.
        """
        own = [item for item in self._connected.of(principal.user_id) if isinstance(item, PollSession)]
        if len(own) >= MAX_OF_USER:
            next((item for item in own if not item.is_polled), own[0]).end("too_many")
        if len(self._sessions) >= MAX_SESSIONS:
            raise Overloaded("This front has as many polling clients as it may have")
        id_ = secrets.token_urlsafe(16)
        session = PollSession(id_, principal, serializer, self._channels, self.window_s, self._ended)
        self._sessions[id_] = session
        self._connected.add(session)
        self._metrics.poll_sessions += 1
        return id_

    async def poll(self, id_: str) -> Polled:
        """See :meth:`PollSession.poll`."""
        session = self._sessions.get(id_)
        return GONE if session is None else await session.poll()

    def deliver(self, message: Deliver) -> Delivered:
        """See the message, and :meth:`PollSession.deliver`.

        Raises:
            BadRequest, PayloadTooLarge: see poll_body.py; nothing was delivered.
        """
        session = self._sessions.get(message.session)
        if session is None:
            return Delivered(GONE.status)
        return session.deliver(messages_of(message.body, batched=message.batched))

    def end(self, id_: str) -> None:
        """End the session, if it is there."""
        session = self._sessions.get(id_)
        if session is not None:
            session.end("given_up")

    def _ended(self, session: PollSession) -> None:
        del self._sessions[session.id]
        self._connected.remove(session)
        self._metrics.poll_sessions -= 1

"""The front: the process that speaks HTTP. Several of them share one port."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from bitnexus.actors.messages import AcknowledgeEvents, EventsAcknowledged, TopicEvent
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.inspection_messages import Scalar
from bitnexus.actors.runtime.log_tail import LogLines
from bitnexus.actors.runtime.message import Done
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.actors.runtime.reasons import ExitReason
from bitnexus.actors.transactions.partitioning import TRANSACTIONS, user_of
from bitnexus.config import get_settings
from bitnexus.http.app import build_runner
from bitnexus.http.callers import Callers
from bitnexus.http.channels.admission import Admission
from bitnexus.http.channels.client import Channels
from bitnexus.http.channels.connected import Connected
from bitnexus.http.channels.disconnects import Disconnects
from bitnexus.http.channels.hub import Hub
from bitnexus.http.channels.longpoll import LongPolls
from bitnexus.http.channels.messages import (
    CloseConnections,
    Deliver,
    Delivered,
    Disconnected,
    DisconnectUser,
    EndSession,
    Poll,
    Polled,
)
from bitnexus.http.channels.operators.assembly import operator_topics
from bitnexus.http.channels.operators.messages import PresencesHeld
from bitnexus.http.channels.poll_sessions import WINDOW_S, PollSessions
from bitnexus.http.channels.pushes import Pushes
from bitnexus.http.channels.rate import PUSHES_PER_S
from bitnexus.http.channels.socket import IDLE_S, Sockets
from bitnexus.http.channels.topic_log import StoredTopicLog
from bitnexus.http.cors import Cors, origins
from bitnexus.http.cursors import Cursors
from bitnexus.http.health import Health
from bitnexus.http.legacy.passing import Legacy
from bitnexus.http.limits import Limits
from bitnexus.http.listener import PortInUse, free_port, let_nobody_begin, listening_sockets
from bitnexus.http.password_threads import PasswordThreads
from bitnexus.http.patience import Patience
from bitnexus.http.refresh_tokens import RefreshTokens
from bitnexus.http.request_metrics import RequestMetrics
from bitnexus.http.revocation_feed import RevocationFeed
from bitnexus.http.services import Services
from bitnexus.http.traffic import Traffic
from bitnexus.storage.database import Database
from bitnexus.supervision.partition_messages import MoveSlots
from bitnexus.supervision.partition_router import PartitionRouter
from bitnexus.tokens import AccessTokens
from bitnexus.webhooks.signing import Secrets

__all__ = ["DRAIN_S", "Front", "PortInUse", "free_port"]

#: How long requests in flight may take when the front stops. What else ends takes up to 2 s more.
DRAIN_S: Final = 3.0
BACKLOG: Final = 1024


class Front(Process):
    """Serves the API and the channels at the settings' host and port, together with the other fronts.

    args (all optional): `host`, `port` instead of the settings'; `origins`, the patterns of pages that may open sockets
    besides those of the settings (none: those of the same host); `idle_s`, after which a silent socket is closed,
    instead of 60; `pushes_per_s`, how much a channel client may send, instead of 100; `poll_window_s`, how long a poll
    waits, instead of 10; `drain_s` instead of :data:`DRAIN_S`; `patience`, the times of :class:`Patience`.
    """

    async def init(self) -> None:
        """Listen. The database may be away: /health says so, and it is connected to when needed."""
        settings = get_settings()
        secret, old_secrets = settings.secret_key_base.get_secret_value(), settings.old_secrets
        if settings.database_url is None:
            raise RuntimeError("the database's address is not settled")
        self._database = await Database.connect(
            settings.database_url, pool_size=settings.pool_size, process=self.name, stateless=True
        )
        self._passwords = PasswordThreads()
        metrics = RequestMetrics()
        self.expose(metrics)
        tokens = AccessTokens(secret, settings.access_token_ttl_s, old_secrets=old_secrets)
        self._doors = asyncio.Lock()  # opened and closed by one at a time
        topic_log = StoredTopicLog(self._database)
        self._hub = Hub(self.node, self.name, settings.call_timeout_s, self.spawn, topic_log)
        self._partitions = PartitionRouter(self.node, self.name, TRANSACTIONS, user_of)
        self._partitions.start()
        self._connected = Connected()
        self._disconnects = Disconnects(self.node, self.name, self._connected)
        revocations = RevocationFeed(self._database, tokens, self._log_out)
        await revocations.look()
        limits = Limits(settings)
        self._legacy = Legacy.of(settings, limits)
        if self._legacy is not None:
            self.expose(self._legacy.metrics)
        services = Services(
            front=self.name,
            node=self.node,
            database=self._database,
            tokens=tokens,
            refresh_tokens=RefreshTokens(secret, settings.refresh_token_ttl_s, old_secrets=old_secrets),
            revocations=revocations,
            limits=limits,
            callers=Callers(),
            cursors=Cursors(secret, old_secrets),
            passwords=self._passwords,
            metrics=metrics,
            health=Health(self.node, self._database),
            partitions=self._partitions,
            default_asset=settings.default_asset,
            call_timeout_s=settings.call_timeout_s,
            disconnects=self._disconnects,
            webhook_secrets=Secrets(secret),
            webhooks_may_be_private=settings.webhooks_may_be_private,
            legacy=self._legacy,
        )
        pages = origins(settings.cors_origins)
        admission = Admission(tokens, self.args.get("origins", ()), pages)
        handlers = Pushes(services).handlers()
        life = self.transport.peers.instance.hex()
        self._operators = operator_topics(self.node, self.path, life, settings.fronts, self.log_tail, self.spawn)
        pushes_per_s = self.args.get("pushes_per_s", PUSHES_PER_S)
        channels = Channels(self._hub, handlers, pushes_per_s=pushes_per_s, operators=self._operators)
        self._sockets = Sockets(admission, channels, self._connected, metrics, idle_s=self.args.get("idle_s", IDLE_S))
        self._poll_sessions = PollSessions(
            channels, self._connected, metrics, window_s=self.args.get("poll_window_s", WINDOW_S)
        )
        self._long_polls = LongPolls(admission, self._poll_sessions, services.cursors, node=self.node, front=self.name)
        self._traffic = Traffic()
        cors = Cors(pages) if pages else None
        self._runner = await build_runner(services, self._sockets, self._long_polls, self._traffic, cors)
        self.spawn(Patience(self._runner.seen, **self.args.get("patience", {})).watch())
        self._hub.start()
        self._operators.exchange.start()
        self.spawn(revocations.follow())
        await self._listen()

    async def terminate(self, reason: ExitReason) -> None:
        """Accept no more, close the sockets with 1012, finish the requests in flight."""
        self.log.info("draining", reason=str(reason))
        left = await self.drain(self.args.get("drain_s", DRAIN_S))
        if left:
            self.log.warning("requests_cut", requests=left)
        await self._runner.cleanup()
        if self._legacy is not None:
            await self._legacy.close()
        await self._hub.close()
        self._passwords.close()
        await self._database.close(timeout_s=1.0)

    async def drain(self, within_s: float) -> int:
        """Accept no more and finish what is in flight: new connections go to the other fronts."""
        async with self._doors:
            if self._runner.sites:
                await let_nobody_begin(self._listening)
            for site in tuple(self._runner.sites):
                await site.stop()
            self._sockets.refuse()
            self._long_polls.refuse()
            finished = self._traffic.drain(within_s, self._connections)
        await asyncio.gather(self._connected.drain(), finished)
        return self._traffic.under_way

    def _connections(self) -> int:
        server = self._runner.server
        return 0 if server is None else len(server.connections)

    async def undrain(self) -> None:
        """Accept again; a drain that has begun closes the doors first."""
        async with self._doors:
            if not self._runner.sites:
                self._traffic.resume()
                self._sockets.resume()
                self._long_polls.resume()
                await self._listen()

    async def _listen(self) -> None:
        settings = get_settings()
        host, port = self.args.get("host", settings.host), self.args.get("port", settings.port)
        self._listening = listening_sockets(host, port)
        for listening in self._listening:
            site = web.SockSite(self._runner, listening, backlog=BACKLOG)
            await site.start()
            self.log.info("listening", address=site.name)

    def _log_out(self, ended: frozenset[str]) -> None:
        self.spawn(self._connected.log_out(ended))

    def summary(self) -> dict[str, Scalar]:
        """What is under way."""
        return {
            "listening": bool(self._runner.sites),
            "requests_under_way": self._traffic.under_way,
            "sockets": len(self._connected),
        }

    @handles(MoveSlots)
    def move(self, message: MoveSlots, context: Context) -> None:
        """Some users are on their way to another partition."""
        self._partitions.move(message, context)

    @handles(Poll)
    async def poll(self, message: Poll, _: Context) -> Polled:
        """A poll that arrived at another front, for a session of this one."""
        return await self._poll_sessions.poll(message.session)

    @handles(Deliver)
    def deliver_polled(self, message: Deliver, _: Context) -> Delivered:
        """Messages of a client that arrived at another front, for a session of this one."""
        return self._poll_sessions.deliver(message)

    @handles(EndSession)
    def end_session(self, message: EndSession, _: Context) -> None:
        """See the message."""
        self._poll_sessions.end(message.session)

    @handles(DisconnectUser, clients=True)
    async def disconnect_user(self, message: DisconnectUser, _: Context) -> Disconnected:
        """Close the user's sockets and polling sessions, here and at the other fronts."""
        return Disconnected(await self._disconnects.user(message.user_id))

    @handles(CloseConnections)
    async def close_connections(self, message: CloseConnections, _: Context) -> Disconnected:
        """Close the user's sockets and polling sessions here."""
        return Disconnected(await self._connected.disconnect(message.user_id))

    @handles(PresencesHeld)
    def presences_held(self, message: PresencesHeld, _: Context) -> Done:
        """Who is present at another front."""
        self._operators.exchange.told(message)
        return Done()

    @handles(LogLines)
    def log_lines(self, message: LogLines, _: Context) -> None:
        """Log lines of a process that this front follows."""
        self._operators.log_lines(message)

    @handles(TopicEvent)
    def deliver(self, event: TopicEvent, _: Context) -> None:
        """An event of the notifier for the readers of its topic."""
        self._hub.deliver(event)

    @handles(AcknowledgeEvents)
    def acknowledge(self, message: AcknowledgeEvents, _: Context) -> EventsAcknowledged:
        """Messages of one sender arrive in order: the events before this one have been delivered."""
        return EventsAcknowledged(message.seq)

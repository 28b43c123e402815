"""The process ``webhooks``: tells internal services what the ledger recorded, each from its own position in the log.

The log is the only truth; here are positions in it alone (docs/webhooks.md). Of all nodes that share a database one
delivers: whose process holds a lock of PostgreSQL's, which ends with its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.inspection_messages import Scalar
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.actors.runtime.reasons import ExitReason
from bitnexus.config import get_settings
from bitnexus.errors import DatabaseUnavailable
from bitnexus.storage import ledger as ledger_tables
from bitnexus.storage import webhooks as tables
from bitnexus.storage.database import Database, Executor
from bitnexus.webhooks.delivery import Delivery
from bitnexus.webhooks.messages import WebhooksChanged
from bitnexus.webhooks.policy import Policy
from bitnexus.webhooks.sender import Sender
from bitnexus.webhooks.signing import Secrets

#: How often the end of the log is asked for while there are endpoints; they hear of an event so much later at most.
POLL_S: Final = 0.2
#: How often endpoints are looked for that nobody told of, and whether the one that delivers is still there.
LOOK_S: Final = 2.0
RETRY_S: Final = 1.0
#: One holds the lock and looks; the deliveries share the others.
POOL_SIZE: Final = 4


class Webhooks(Process):
    """Takes WebhooksChanged."""

    async def init(self) -> None:
        """Ready at once; the database need not be there."""
        settings = get_settings()
        assert settings.database_url is not None
        self._database = await Database.connect(settings.database_url, pool_size=POOL_SIZE, process=self.name)
        self._secrets = Secrets(settings.secret_key_base.get_secret_value(), settings.old_secrets)
        self._sender = Sender(may_be_private=settings.webhooks_may_be_private, limit=tables.MAX_ENDPOINTS)
        self._policy = Policy(settings.webhook_attempts)
        self._deliveries: dict[str, tuple[Delivery, asyncio.Task[None]]] = {}  # by the endpoint's id
        self._head = -1
        self._changed = asyncio.Event()
        self._delivers = False
        self.spawn(self._run())

    async def terminate(self, reason: ExitReason) -> None:  # noqa: ARG002 - it makes no difference here
        """What is under way is sent again by the successor."""
        await self._stop_all()
        await self._sender.close()
        await self._database.close(timeout_s=1.0)

    def summary(self) -> dict[str, Scalar]:
        """What it does."""
        return {"delivers": self._delivers, "endpoints": len(self._deliveries), "head": self._head}

    @handles(WebhooksChanged)
    def changed(self, message: WebhooksChanged, context: Context) -> None:  # noqa: ARG002 - a cast
        """See the message."""
        self._changed.set()

    async def _run(self) -> None:
        while True:
            try:
                async with self._database.connection() as connection:
                    if await tables.take_over(connection):
                        self._delivers = True
                        await self._follow(connection)
            except DatabaseUnavailable as error:
                self.log.warning("webhooks_database_away", error=error.detail)
            finally:
                # Without the lock another may deliver by now.
                self._delivers = False
                await self._stop_all()
            await asyncio.sleep(RETRY_S)

    async def _follow(self, connection: Executor) -> None:
        """For as long as the connection lives: see to the endpoints, and tell them how far the log has come."""
        loop = asyncio.get_running_loop()
        looked_at = float("-inf")
        while True:
            if self._changed.is_set() or loop.time() - looked_at >= LOOK_S:
                self._changed.clear()
                looked_at = loop.time()
                await self._reconcile(await tables.endpoints(connection))
            if self._deliveries:
                head = await ledger_tables.last_seq(connection)
                if head > self._head:
                    self._head = head
                    for delivery, _ in self._deliveries.values():
                        delivery.wake(replays=False)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), POLL_S if self._deliveries else LOOK_S)

    async def _reconcile(self, endpoints: list[tables.Endpoint]) -> None:
        wanted = {each.id: each for each in endpoints if each.is_active}
        for id_, (delivery, task) in list(self._deliveries.items()):
            now = wanted.get(id_)
            if now is None or task.done() or _is_another(now, delivery.endpoint):
                await self._end(id_)
            elif now.replays:
                delivery.wake(replays=True)
        for id_, endpoint in wanted.items():
            if id_ not in self._deliveries:
                delivery = Delivery(
                    endpoint, self._database, self._sender, self._secrets, policy=self._policy, head=lambda: self._head
                )
                self._deliveries[id_] = (delivery, self.spawn(delivery.run()))

    async def _end(self, id_: str) -> None:
        delivery, task = self._deliveries.pop(id_)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(DatabaseUnavailable):  # then what was delivered last comes again
            await delivery.save()

    async def _stop_all(self) -> None:
        await asyncio.gather(*(self._end(id_) for id_ in list(self._deliveries)))


def _is_another(now: tables.Endpoint, before: tables.Endpoint) -> bool:
    """Whether its owner has changed it, or the time of its former secret is over."""
    return now.version != before.version or now.previous_salt != before.previous_salt

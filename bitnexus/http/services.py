"""What the resources work with: made once by the front, passed to each of them."""

from __future__ import annotations

from dataclasses import dataclass

from bitnexus.actors.runtime.node import Node
from bitnexus.http.channels.disconnects import Disconnects
from bitnexus.http.cursors import Cursors
from bitnexus.http.health import Health
from bitnexus.http.legacy.passing import Legacy
from bitnexus.http.limits import Limits
from bitnexus.http.password_threads import PasswordThreads
from bitnexus.http.refresh_tokens import RefreshTokens
from bitnexus.http.request_metrics import RequestMetrics
from bitnexus.http.revocation_feed import RevocationFeed
from bitnexus.storage.database import Database
from bitnexus.supervision.partition_router import PartitionRouter
from bitnexus.tokens import AccessTokens
from bitnexus.webhooks.signing import Secrets


@dataclass(frozen=True, slots=True)
class Services:
    """The dependencies of one front, whose name is `front`."""

    front: str
    node: Node
    database: Database
    tokens: AccessTokens
    refresh_tokens: RefreshTokens
    revocations: RevocationFeed
    limits: Limits
    cursors: Cursors
    passwords: PasswordThreads
    metrics: RequestMetrics
    health: Health
    partitions: PartitionRouter
    default_asset: str
    call_timeout_s: float
    disconnects: Disconnects
    webhook_secrets: Secrets
    webhooks_may_be_private: bool
    legacy: Legacy | None

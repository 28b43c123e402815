"""Memory of the service's processes (proportional set size) against users, and against the length of the log.

Users are made by tokens of the service's own key, so that no time goes into passwords; each opens an account, which
wakes the user's actor and puts the account into the ledger. The log grows by batches. PostgreSQL is not counted.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.contestants import BitNexus
from bench.cpu import kind_of, proportional_set_bytes
from bench.servers import Server
from bench.workloads import WORKLOADS, Shape
from bitnexus.config import Settings
from bitnexus.config.secret_file import read_or_create
from bitnexus.config.sections.node import SECRET_FILE
from bitnexus.http.client import Client
from bitnexus.tokens import AccessTokens
from tests.customers import session_with
from tests.running import RunningService

NAME: Final = "memory"
USERS: Final = (1_000, 4_000, 10_000)
LOG_STEPS: Final = 4
_AT_ONCE: Final = 32
_CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Point:
    """Bytes by kind of process, with so many users at work and so many transfers in the log."""

    users: int
    transfers: int
    bytes_by_kind: dict[str, int]


async def measure(
    directory: Path, server: Server, shape: Shape, *, seconds: int, scale: float, progress: Callable[[str], object]
) -> dict[str, Any]:
    """Points against users, then against the log; `scale` makes the steps of users smaller."""
    service = BitNexus(directory / NAME, server, shape, database="bitnexus_memory")
    try:
        progress(f"{NAME}: starting …")
        await service.start()
        users = [await _point(service, shape.users)]
        for wanted in USERS:
            count = max(shape.users + 1, round(wanted * scale))
            progress(f"{NAME}: {count:,} users …")
            await _wake(service.service, count - users[-1].users)
            users.append(await _point(service, count))
        log = [await _point(service, users[-1].users)]
        complaints: list[str] = []
        for number in range(LOG_STEPS):
            progress(f"{NAME}: a log of more than {log[-1].transfers:,} transfers …")
            seen = await service.load(
                WORKLOADS["batch of 1,000"], f"log-{number}", connections=_CONNECTIONS, seconds=seconds
            )
            complaints += [f"{count} {kind} errors" for kind, count in seen.errors.items() if count]
            log.append(await _point(service, users[-1].users))
    finally:
        service.stop()
    return {
        "users": [asdict(point) for point in users],
        "log": [asdict(point) for point in log],
        "complaints": complaints,
    }


async def _wake(service: RunningService, count: int) -> None:
    secret = read_or_create(service.data_dir / SECRET_FILE)
    tokens = AccessTokens(secret, int(Settings.model_fields["access_token_ttl_s"].default))
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one() -> None:
        async with slots:
            token = tokens.issue(str(uuid.uuid4()), "user")
            await Client("", tokens=token, session=session).accounts.open()  # the session knows the address

    async with session_with(service) as session:
        await asyncio.gather(*(one() for _ in range(count)))


async def _point(service: BitNexus, users: int) -> Point:
    found: dict[str, int] = defaultdict(int)
    for pid, name in service.service.names().items():
        found[kind_of(name)] += proportional_set_bytes(pid)[0]
    return Point(users, await service.recorded(), dict(found))


def slope(points: list[dict[str, Any]], field: str) -> float:
    """Bytes for each further one of `field`, between the first point and the last; 0 if there are no more."""
    first, last = points[0], points[-1]
    more = last[field] - first[field]
    grown = sum(last["bytes_by_kind"].values()) - sum(first["bytes_by_kind"].values())
    return float(grown / more) if more else 0.0

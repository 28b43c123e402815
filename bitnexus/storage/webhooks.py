"""Queries of the tables of webhooks. Ids are canonical UUID strings, times microseconds of UTC, positions the log's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bitnexus.storage.database import Executor

#: Each has a task and a connection of the process that delivers.
MAX_ENDPOINTS: Final = 100
#: An endpoint with more is disabled: nobody looks after it.
MAX_DEAD_LETTERS: Final = 10_000
END: Final = 2**63 - 1
#: How long messages are signed by the former secret as well.
ROTATION: Final = "24 hours"
#: Of the process that delivers: one of all nodes that share the database.
_LOCK: Final = 0x77_65_62_68_6F_6F_6B_73

_MICROSECONDS: Final = "(extract(epoch FROM {0}) * 1000000)::bigint AS {0}_us"
_COLUMNS: Final = ", ".join(
    (
        "e.id::text, e.ordinal, e.owner_id::text, e.url, e.description, e.events, e.is_active, e.disabled_because",
        "e.salt, CASE WHEN e.previous_until > now() THEN e.previous_salt END AS previous_salt",
        "e.position, e.attempts, e.last_error, e.version",
        *(_MICROSECONDS.format(name) for name in ("unavailable_since", "delivered_at", "inserted_at", "updated_at")),
        "(SELECT count(*) FROM webhook_dead_letters d WHERE d.endpoint_id = e.id) AS dead",
        "EXISTS (SELECT FROM webhook_dead_letters d WHERE d.endpoint_id = e.id AND d.replay) AS replays",
    )
)
_FROM: Final = "webhook_endpoints e"
_BY_ID: Final = f"SELECT {_COLUMNS} FROM {_FROM} WHERE e.id = $1"  # noqa: S608 - constants alone
_ALL: Final = f"""
    SELECT {_COLUMNS} FROM {_FROM} WHERE ($1::uuid IS NULL OR e.owner_id = $1) ORDER BY e.ordinal
"""  # noqa: S608
# The lock keeps two who come at once from going over the bound together.
_INSERT: Final = """
    WITH counted AS (SELECT count(*) AS many FROM webhook_endpoints)
    INSERT INTO webhook_endpoints (id, owner_id, url, description, events, salt, position)
    SELECT $1, $2, $3, $4, $5, $6, $7 FROM counted WHERE many < $8
    RETURNING true
"""
_UPDATE: Final = """
    UPDATE webhook_endpoints SET url = coalesce($3, url), description = coalesce($4, description),
        events = coalesce($5, events), is_active = coalesce($6, is_active),
        disabled_because = CASE WHEN $6 IS NULL THEN disabled_because ELSE '' END,
        attempts = 0, unavailable_since = NULL, version = version + 1, updated_at = now()
    WHERE id = $1 AND ($2::bigint[] IS NULL OR version = ANY($2))
    RETURNING true
"""
_ROTATE: Final = f"""
    UPDATE webhook_endpoints SET previous_salt = salt, previous_until = now() + interval '{ROTATION}', salt = $2,
        version = version + 1, updated_at = now()
    WHERE id = $1 RETURNING true
"""  # noqa: S608
_DELETE: Final = """
    DELETE FROM webhook_endpoints WHERE id = $1 AND ($2::bigint[] IS NULL OR version = ANY($2)) RETURNING true
"""
# Not by version: what the owner changes meanwhile and how far it has come do not touch each other.
_SAVE: Final = """
    UPDATE webhook_endpoints SET position = greatest(position, $2), attempts = $3,
        unavailable_since = to_timestamp($4::float8), last_error = $5,
        delivered_at = coalesce(to_timestamp($6::float8), delivered_at)
    WHERE id = $1
"""
_DISABLE: Final = """
    UPDATE webhook_endpoints SET is_active = false, disabled_because = $2, version = version + 1, updated_at = now()
    WHERE id = $1 AND is_active RETURNING true
"""
_BURY: Final = """
    INSERT INTO webhook_dead_letters (endpoint_id, seq, type, attempts, error) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (endpoint_id, seq) DO UPDATE SET attempts = excluded.attempts, error = excluded.error,
        died_at = now(), replay = false
"""
_DEAD: Final = """
    SELECT endpoint_id::text, seq, type, attempts, error, replay,
        (extract(epoch FROM died_at) * 1000000)::bigint AS died_at_us
    FROM webhook_dead_letters WHERE ($1::uuid IS NULL OR endpoint_id = $1) AND seq < $2
    ORDER BY seq DESC, endpoint_id LIMIT $3
"""
_NEXT_REPLAY: Final = """
    SELECT endpoint_id::text, seq, type, attempts, error, replay,
        (extract(epoch FROM died_at) * 1000000)::bigint AS died_at_us
    FROM webhook_dead_letters WHERE endpoint_id = $1 AND replay ORDER BY seq LIMIT 1
"""
_REPLAY: Final = """
    WITH marked AS (
        UPDATE webhook_dead_letters SET replay = true
        WHERE endpoint_id = $1 AND NOT replay AND ($2::bigint[] IS NULL OR seq = ANY($2)) RETURNING 1
    ) SELECT count(*) FROM marked
"""
_DISCARD: Final = """
    WITH gone AS (
        DELETE FROM webhook_dead_letters WHERE endpoint_id = $1 AND ($2::bigint[] IS NULL OR seq = ANY($2)) RETURNING 1
    ) SELECT count(*) FROM gone
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who is told. `position`: of the last event that it has behind it; `attempts` are of the one after that.

    `events` are the types that it wants, none for all; `dead` counts its dead letters, of which some wait to be
    replayed if `replays`. `previous_salt` is that of the secret before the last rotation, for as long as it is good.
    """

    id: str
    ordinal: int
    owner_id: str
    url: str
    description: str
    events: list[str]
    is_active: bool
    disabled_because: str
    salt: bytes
    previous_salt: bytes | None
    position: int
    attempts: int
    last_error: str
    version: int
    unavailable_since_us: int | None
    delivered_at_us: int | None
    inserted_at_us: int
    updated_at_us: int
    dead: int
    replays: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up; it is in the log, here is only where. `replay`: it is to be sent once more."""

    endpoint_id: str
    seq: int
    type: str
    attempts: int
    error: str
    replay: bool
    died_at_us: int


async def insert(
    executor: Executor,
    *,
    endpoint_id: str,
    owner_id: str,
    url: str,
    description: str,
    events: Sequence[str],
    salt: bytes,
    position: int,
) -> bool:
    """Add an endpoint; False if there are :data:`MAX_ENDPOINTS` already."""
    await executor.execute("LOCK TABLE webhook_endpoints IN SHARE ROW EXCLUSIVE MODE")
    found = await executor.fetchval(
        _INSERT, endpoint_id, owner_id, url, description, list(events), salt, position, MAX_ENDPOINTS
    )
    return bool(found)


async def by_id(executor: Executor, endpoint_id: str) -> Endpoint | None:
    """The endpoint, if there is one."""
    row = await executor.fetchrow(_BY_ID, endpoint_id)
    return None if row is None else Endpoint(**row)


async def endpoints(executor: Executor, owner_id: str | None = None) -> list[Endpoint]:
    """All, or the owner's, the oldest first."""
    return [Endpoint(**row) for row in await executor.fetch(_ALL, owner_id)]


async def update(
    executor: Executor,
    endpoint_id: str,
    *,
    versions: Collection[int] | None,
    url: str | None = None,
    description: str | None = None,
    events: Sequence[str] | None = None,
    is_active: bool | None = None,
) -> bool:
    """Change what is given; False if there is no such endpoint of one of these versions (None: of any)."""
    wanted = None if versions is None else list(versions)
    types = None if events is None else list(events)
    return bool(await executor.fetchval(_UPDATE, endpoint_id, wanted, url, description, types, is_active))


async def rotate(executor: Executor, endpoint_id: str, salt: bytes) -> bool:
    """Sign by a new secret from now on, and by the former one as well for a day; False without such an endpoint."""
    return bool(await executor.fetchval(_ROTATE, endpoint_id, salt))


async def delete(executor: Executor, endpoint_id: str, *, versions: Collection[int] | None) -> bool:
    """Forget it and its dead letters; False as in :func:`update`."""
    return bool(await executor.fetchval(_DELETE, endpoint_id, None if versions is None else list(versions)))


# -- deliveries --------------------------------------------------------------------------------------------------


async def take_over(executor: Executor) -> bool:
    """Whether whoever holds this connection is the one that delivers, for as long as the connection lives."""
    return bool(await executor.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK))


async def save(  # noqa: PLR0917 - a row
    executor: Executor,
    endpoint_id: str,
    position: int,
    attempts: int,
    unavailable_since_s: float | None,
    last_error: str,
    delivered_at_s: float | None,
) -> None:
    """How far it has come, and how it stands."""
    await executor.execute(_SAVE, endpoint_id, position, attempts, unavailable_since_s, last_error, delivered_at_s)


async def disable(executor: Executor, endpoint_id: str, because: str) -> bool:
    """Send it nothing more until somebody enables it; False if it is disabled already."""
    return bool(await executor.fetchval(_DISABLE, endpoint_id, because))


async def bury(executor: Executor, endpoint_id: str, *, seq: int, type_: str, attempts: int, error: str) -> None:
    """Record an event as a dead letter, or that its replay did not arrive."""
    await executor.execute(_BURY, endpoint_id, seq, type_, attempts, error)


async def next_replay(executor: Executor, endpoint_id: str) -> DeadLetter | None:
    """The oldest dead letter that is to be sent once more."""
    row = await executor.fetchrow(_NEXT_REPLAY, endpoint_id)
    return None if row is None else DeadLetter(**row)


# -- dead letters ------------------------------------------------------------------------------------------------


async def dead_letters(
    executor: Executor, endpoint_id: str | None, *, before_seq: int = END, limit: int
) -> list[DeadLetter]:
    """Of one endpoint or of all, the newest events first, those below `before_seq`."""
    found: list[Any] = await executor.fetch(_DEAD, endpoint_id, before_seq, limit)
    return [DeadLetter(**row) for row in found]


async def replay(executor: Executor, endpoint_id: str, seqs: Sequence[int] | None) -> int:
    """Have these dead letters sent once more, or all; how many were not marked already."""
    return int(await executor.fetchval(_REPLAY, endpoint_id, None if seqs is None else list(seqs)))


async def discard(executor: Executor, endpoint_id: str, seqs: Sequence[int] | None) -> int:
    """Forget these dead letters, or all; how many there were."""
    return int(await executor.fetchval(_DISCARD, endpoint_id, None if seqs is None else list(seqs)))

"""Queries of the table ``sessions``: who is logged in, by the hash of the one refresh token that is good now.

A session is the whole family of its refresh tokens: each is exchanged once, for the next. Ids are canonical UUID
strings, lives are in seconds. All times are PostgreSQL's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bitnexus.revocations import Revoked
from bitnexus.storage.database import Executor

#: Sessions of one user; the login that would be one more ends the one that was silent longest.
MAX_PER_USER: Final = 100
#: How much later than PostgreSQL's the clocks of fronts may be, for what is revoked to stay so.
_CLOCKS_APART_S: Final = 60.0
#: Rows that nobody needs, removed by each login: more than it adds.
_SWEPT: Final = 10
#: The longest life of a token that no session stands behind (`bitnexus user token`): that long are deleted users told.
_LONGEST_TOKEN_S: Final = 366 * 86_400.0

_SWEEP: Final = """
    DELETE FROM sessions WHERE id IN
        (SELECT id FROM sessions WHERE expires_at < now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
"""
_INSERT: Final = """
    INSERT INTO sessions (id, user_id, refresh_hash, expires_at, access_until)
    SELECT $1, id, $3, now() + make_interval(secs => $4), now() + make_interval(secs => $5)
    FROM users WHERE id = $2 AND password_hash = $6 AND deleted_at IS NULL FOR SHARE
    RETURNING true
"""
_ROTATE: Final = """
    UPDATE sessions SET refresh_hash = $3, refreshed_at = now(), expires_at = now() + make_interval(secs => $4),
        access_until = greatest(access_until, now() + make_interval(secs => $5))
    WHERE id = $1 AND refresh_hash = $2 AND revoked_at IS NULL AND expires_at > now()
    RETURNING user_id::text
"""
_REVOKED: Final = """
    id::text, extract(epoch FROM revoked_at)::float8 AS revoked_at, extract(epoch FROM expires_at)::float8 AS until
"""
_REVOKE: Final = f"""
    UPDATE sessions SET revoked_at = clock_timestamp(), expires_at = greatest(access_until, now())
    WHERE %s AND revoked_at IS NULL
    RETURNING {_REVOKED}
"""  # noqa: S608 - constants alone
_REVOKE_ONE: Final = _REVOKE % "id = $1"
_REVOKE_ALL: Final = _REVOKE % "user_id = $1"
_REVOKE_SURPLUS: Final = _REVOKE % (
    """id IN (SELECT id FROM sessions WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now()
        ORDER BY refreshed_at DESC OFFSET $2)"""
)
_SINCE: Final = f"""
    SELECT {_REVOKED} FROM sessions WHERE revoked_at > to_timestamp($1) AND expires_at > now()
    UNION ALL
    SELECT id::text, extract(epoch FROM deleted_at)::float8, extract(epoch FROM deleted_at)::float8 + $2
    FROM users WHERE deleted_at > to_timestamp($1) AND deleted_at > now() - make_interval(secs => $2)
    ORDER BY revoked_at DESC LIMIT $3
"""  # noqa: S608


async def insert(
    executor: Executor,
    *,
    session_id: str,
    user_id: str,
    password_hash: str,
    refresh_hash: bytes,
    refresh_ttl_s: float,
    access_ttl_s: float,
) -> list[Revoked] | None:
    """Begin a session; what of the user's had to end for it. In a transaction of the caller's.

    None: the password was changed or the user deleted while it was verified, and nobody is logged in.
    """
    await executor.execute(_SWEEP, _SWEPT)
    access_s = access_ttl_s + _CLOCKS_APART_S
    if not await executor.fetchval(_INSERT, session_id, user_id, refresh_hash, refresh_ttl_s, access_s, password_hash):
        return None
    return _revoked(await executor.fetch(_REVOKE_SURPLUS, user_id, MAX_PER_USER))


async def rotate(
    executor: Executor,
    session_id: str,
    *,
    shown_hash: bytes,
    next_hash: bytes,
    refresh_ttl_s: float,
    access_ttl_s: float,
) -> str | None:
    """Exchange the session's refresh token; the id of its user, or None: ended, or not the token that is good now."""
    access_s = access_ttl_s + _CLOCKS_APART_S
    user_id: str | None = await executor.fetchval(_ROTATE, session_id, shown_hash, next_hash, refresh_ttl_s, access_s)
    return user_id


async def revoke(executor: Executor, session_id: str) -> list[Revoked]:
    """End the session; empty if there is none that has not ended."""
    return _revoked(await executor.fetch(_REVOKE_ONE, session_id))


async def revoke_all(executor: Executor, user_id: str) -> list[Revoked]:
    """End all sessions of a user."""
    return _revoked(await executor.fetch(_REVOKE_ALL, user_id))


async def revoked_since(executor: Executor, time: float, *, limit: int) -> list[Revoked]:
    """Sessions revoked and users deleted after `time` (s since 1970) of which a token may live, the last ones first."""
    return _revoked(await executor.fetch(_SINCE, time, _LONGEST_TOKEN_S, limit))


def _revoked(rows: list[Mapping[str, Any]]) -> list[Revoked]:
    return [Revoked(**row) for row in rows]

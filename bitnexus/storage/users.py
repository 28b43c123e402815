"""Queries of the table ``users``. Ids are canonical UUID strings, times integer microseconds of UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import asyncpg

from bitnexus.errors import Conflict
from bitnexus.storage.database import Executor

Role = Literal["user", "service", "admin"]

_COLUMNS = """
    id::text, ordinal, version, email, name, password_hash, role,
    (extract(epoch FROM inserted_at) * 1000000)::bigint AS inserted_at_us,
    (extract(epoch FROM updated_at) * 1000000)::bigint AS updated_at_us
"""
_INSERT = f"""
    INSERT INTO users (id, email, name, password_hash, role) VALUES ($1, $2, $3, $4, $5) RETURNING {_COLUMNS}
"""  # noqa: S608 - constants alone
_BY_EMAIL = f"SELECT {_COLUMNS} FROM users WHERE lower(email) = lower($1) AND deleted_at IS NULL"  # noqa: S608
_BY_ID = f"SELECT {_COLUMNS} FROM users WHERE id = $1 AND deleted_at IS NULL"  # noqa: S608
_ANY_ADMIN = "SELECT EXISTS (SELECT FROM users WHERE role = 'admin' AND deleted_at IS NULL)"
_SET_PASSWORD_HASH = "UPDATE users SET password_hash = $2, updated_at = now() WHERE id = $1"  # noqa: S105


@dataclass(frozen=True, slots=True)
class User:
    """A row of ``users`` that is not deleted. `ordinal` orders users; `version` counts the changes that they see."""

    id: str
    ordinal: int
    version: int
    email: str
    name: str
    password_hash: str = field(repr=False)
    role: Role
    inserted_at_us: int
    updated_at_us: int


async def insert(
    executor: Executor, *, user_id: str, email: str, name: str, password_hash: str, role: Role = "user"
) -> User:
    """The new user.

    Raises:
        Conflict: the email, compared without case, is another user's, or the id is.
    """
    try:
        row = await executor.fetchrow(_INSERT, user_id, email, name, password_hash, role)
    except asyncpg.UniqueViolationError as error:
        taken = (
            "The email has already been taken." if error.constraint_name == "users_email_key" else "The id is in use."
        )
        raise Conflict(taken) from error
    return _user(row)


async def by_email(executor: Executor, email: str) -> User | None:
    """The user with this email, compared without case, or None."""
    row = await executor.fetchrow(_BY_EMAIL, email)
    return _user(row) if row else None


async def by_id(executor: Executor, user_id: str) -> User | None:
    """The user with this id, or None."""
    row = await executor.fetchrow(_BY_ID, user_id)
    return _user(row) if row else None


async def any_admin(executor: Executor) -> bool:
    """True if there is an admin."""
    return bool(await executor.fetchval(_ANY_ADMIN))


async def set_password_hash(executor: Executor, user_id: str, password_hash: str) -> None:
    """Replace the user's password hash; nothing if there is no such user."""
    await executor.execute(_SET_PASSWORD_HASH, user_id, password_hash)


def _user(row: Mapping[str, Any]) -> User:
    return User(**row)

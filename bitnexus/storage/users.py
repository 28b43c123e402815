"""Queries of the table ``users``. Ids are canonical UUID strings, times integer microseconds of UTC."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

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
_RENEW_HASH = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 RETURNING true"
_PAGE = f"SELECT {_COLUMNS} FROM users WHERE deleted_at IS NULL AND ordinal < $1 ORDER BY ordinal DESC LIMIT $2"  # noqa: S608
_UPDATE = f"""
    UPDATE users SET email = coalesce($3, email), name = coalesce($4, name),
        password_hash = coalesce($5, password_hash), version = version + 1, updated_at = now()
    WHERE id = $1 AND deleted_at IS NULL AND ($2::bigint[] IS NULL OR version = ANY($2))
    RETURNING {_COLUMNS}
"""  # noqa: S608
_ANOTHER_ADMIN = "SELECT EXISTS (SELECT FROM users WHERE role = 'admin' AND deleted_at IS NULL AND id <> $1)"
_DELETE = """
    UPDATE users SET version = version + 1, updated_at = now(), deleted_at = clock_timestamp()
    WHERE id = $1 AND deleted_at IS NULL AND ($2::bigint[] IS NULL OR version = ANY($2))
    RETURNING true
"""
#: Larger than any ordinal: "before" of a first page.
END: Final = 2**63 - 1


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
    with _taken():
        row = await executor.fetchrow(_INSERT, user_id, email, name, password_hash, role)
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


async def renew_hash(executor: Executor, user_id: str, *, old_hash: str, new_hash: str) -> bool:
    """Replace the hash of the same password; False if the password was changed meanwhile."""
    return bool(await executor.fetchval(_RENEW_HASH, user_id, old_hash, new_hash))


async def page(executor: Executor, *, before: int = END, limit: int) -> list[User]:
    """Users that are not deleted, the newest first, those with an `ordinal` below `before`."""
    return [_user(row) for row in await executor.fetch(_PAGE, before, limit)]


async def update(
    executor: Executor,
    user_id: str,
    *,
    versions: Collection[int] | None,
    email: str | None = None,
    name: str | None = None,
    password_hash: str | None = None,
) -> User | None:
    """The user with what is given changed; None if there is no such user of one of these versions (None: of any).

    Raises:
        Conflict: the email is another user's.
    """
    wanted = None if versions is None else list(versions)
    with _taken():
        row = await executor.fetchrow(_UPDATE, user_id, wanted, email, name, password_hash)
    return _user(row) if row else None


async def check_admin_remains(executor: Executor, user: User) -> None:
    """Nothing, if there is an admin without this user too.

    Raises:
        Conflict: nobody else could administrate the service.
    """
    if user.role == "admin" and not await executor.fetchval(_ANOTHER_ADMIN, user.id):
        raise Conflict("This is the last admin")


async def delete(executor: Executor, user_id: str, *, versions: Collection[int] | None) -> bool:
    """Mark the user as deleted; False if there is no such user of one of these versions (None: of any)."""
    return bool(await executor.fetchval(_DELETE, user_id, None if versions is None else list(versions)))


@contextmanager
def _taken() -> Iterator[None]:
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        taken = (
            "The email has already been taken." if error.constraint_name == "users_email_key" else "The id is in use."
        )
        raise Conflict(taken) from error


def _user(row: Mapping[str, Any]) -> User:
    return User(**row)

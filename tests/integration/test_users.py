"""Users are found by id and by email in any case, and an email is taken once."""

from __future__ import annotations

import time
import uuid

import asyncpg
import pytest

from bitnexus.errors import Conflict
from bitnexus.storage import users
from bitnexus.storage.database import Database


async def test_a_user_is_found_by_id_and_by_email_in_any_case(fresh_database_url: str) -> None:
    database = await Database.connect(fresh_database_url)
    user_id = str(uuid.uuid4())
    user = await users.insert(
        database.pool, user_id=user_id, email="Ann@Example.org", name="Ann", password_hash="$hash", role="service"
    )
    assert (user.id, user.email, user.role) == (user_id, "Ann@Example.org", "service")
    assert abs(user.inserted_at_us - time.time_ns() // 1000) < 60_000_000
    assert "$hash" not in repr(user)
    assert await users.by_id(database.pool, user_id) == user
    assert await users.by_email(database.pool, "ann@example.ORG") == user
    assert await users.by_email(database.pool, "bob@example.org") is None
    assert await users.by_id(database.pool, str(uuid.uuid4())) is None
    assert not await users.renew_hash(database.pool, user_id, old_hash="$older", new_hash="$other")
    assert await users.renew_hash(database.pool, user_id, old_hash="$hash", new_hash="$other")
    changed = await users.by_id(database.pool, user_id)
    assert changed is not None
    assert changed.password_hash == "$other"
    assert changed.version == user.version
    await database.close()


async def test_an_email_is_taken_once_in_whatever_case(fresh_database_url: str) -> None:
    database = await Database.connect(fresh_database_url)
    first = str(uuid.uuid4())
    await users.insert(database.pool, user_id=first, email="ann@example.org", name="Ann", password_hash="x")
    with pytest.raises(Conflict, match="email has already been taken"):
        await users.insert(
            database.pool, user_id=str(uuid.uuid4()), email="ANN@example.org", name="Ann", password_hash="x"
        )
    with pytest.raises(Conflict, match="id is in use"):
        await users.insert(database.pool, user_id=first, email="bob@example.org", name="Bob", password_hash="x")
    await database.close()


async def test_an_unknown_role_is_refused_by_the_database(fresh_database_url: str) -> None:
    database = await Database.connect(fresh_database_url)
    with pytest.raises(asyncpg.CheckViolationError):
        await users.insert(
            database.pool,
            user_id=str(uuid.uuid4()),
            email="a@b.c",
            name="",
            password_hash="x",
            role="root",  # type: ignore[arg-type]
        )
    await database.close()


async def test_it_is_known_whether_there_is_an_admin(fresh_database_url: str) -> None:
    database = await Database.connect(fresh_database_url)
    assert not await users.any_admin(database.pool)
    await users.insert(
        database.pool, user_id=str(uuid.uuid4()), email="a@b.c", name="", password_hash="x", role="admin"
    )
    assert await users.any_admin(database.pool)
    await database.close()

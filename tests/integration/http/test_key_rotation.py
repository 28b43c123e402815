"""SECRET_KEY_BASE is replaced while users are logged in: three starts of one service, with its data."""

from __future__ import annotations

import contextlib

import jwt
import pytest

from bitnexus.keys import derive_key, key_id
from tests.service import Service, User

OLD, NEW = "old-secret-" * 8, "new-secret-" * 8
REFRESH, ACCOUNTS = "/api/v1/auth/refresh", "/api/v1/accounts"
PASSWORD = "long enough"


@contextlib.asynccontextmanager
async def running(database_url, directory, **environment):
    service = await Service.start(database_url, directory, BITNEXUS_FRONTS="1", BITNEXUS_PARTITIONS="1", **environment)
    try:
        yield service
    finally:
        assert await service.stop() == 0


def kid_of(secret):
    return key_id(derive_key(secret, "access-token"))


async def granted(service, path, body):
    status, answer, _ = await service.call("POST", path, json=body)
    assert status == 200, answer
    return answer["data"]


async def first_page(service, user):
    for _ in range(2):
        status, _, _ = await service.call("POST", ACCOUNTS, user=user, json={"account": {}})
        assert status == 201
    _, answer, _ = await service.call("GET", f"{ACCOUNTS}?limit=1", user=user)
    return answer["page"]["next"]


async def answers(service, user, refresh_token, cursor):
    """Statuses: of the access token, of the cursor (asked for by somebody who is logged in now), of the refresh."""
    status, _, _ = await service.call("GET", "/api/v1/users/me", user=user)
    current = User(user.id, user.account_id, user.email, await service.login(user.email, PASSWORD))
    page, _, _ = await service.call("GET", f"{ACCOUNTS}?limit=1&cursor={cursor}", user=current)
    refreshed, answer, _ = await service.call("POST", REFRESH, json={"session": {"refresh_token": refresh_token}})
    return (status, page, refreshed), answer.get("data")


@pytest.mark.timeout(180)  # three starts, also on a busy machine
async def test_nobody_is_logged_out_by_a_new_secret_until_the_old_one_is_taken_away(fresh_database_url, tmp_path):
    async with running(fresh_database_url, tmp_path, SECRET_KEY_BASE=OLD) as service:
        user = await service.register(password=PASSWORD)
        credentials = {"user": {"email": user.email, "password": PASSWORD}}
        first, second = [await granted(service, "/api/v1/auth/login", credentials) for _ in range(2)]
        cursor = await first_page(service, user)
    assert jwt.get_unverified_header(user.token)["kid"] == kid_of(OLD)

    async with running(fresh_database_url, tmp_path, SECRET_KEY_BASE=NEW, SECRET_KEY_BASE_OLD=OLD) as service:
        statuses, renewed = await answers(service, user, first["refresh_token"], cursor)
        assert statuses == (200, 200, 200)
        assert jwt.get_unverified_header(renewed["access_token"])["kid"] == kid_of(NEW)

    async with running(fresh_database_url, tmp_path, SECRET_KEY_BASE=NEW) as service:
        # Of the old secret, and not used since: refused. What was renewed meanwhile goes on.
        statuses, _ = await answers(service, user, second["refresh_token"], cursor)
        assert statuses == (401, 400, 401)
        user.token = renewed["access_token"]
        assert (await service.call("GET", "/api/v1/users/me", user=user))[0] == 200
        await granted(service, REFRESH, {"session": {"refresh_token": renewed["refresh_token"]}})

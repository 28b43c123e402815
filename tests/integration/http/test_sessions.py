from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from tests.service import new_session

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOGIN, REFRESH, LOGOUT, ME = "/api/v1/auth/login", "/api/v1/auth/refresh", "/api/v1/auth/logout", "/api/v1/users/me"
PASSWORD = "long enough"
#: What is promised: so long after a revocation no front takes an access token of the session any more.
EVERYWHERE_S = 5.0
#: So many new connections reach both fronts, but for one time in a thousand million.
CONNECTIONS = 30


async def login(service, user):
    body = {"user": {"email": user.email, "password": PASSWORD}}
    status, answer, _ = await service.call("POST", LOGIN, json=body)
    assert status == 200, answer
    return answer["data"]


async def refresh(service, token):
    status, answer, _ = await service.call("POST", REFRESH, json={"session": {"refresh_token": token}})
    return status, answer.get("data") if status == 200 else answer["code"]


async def statuses(service, access_token):
    """What each of many new connections is answered with."""
    found = []
    for _ in range(CONNECTIONS):
        async with (
            new_session(service.port) as session,
            session.get(ME, headers={"Authorization": f"Bearer {access_token}"}) as response,
        ):
            found.append(response.status)
    return set(found)


async def is_refused_everywhere(service, access_token):
    started = time.monotonic()
    while await statuses(service, access_token) != {401}:
        assert time.monotonic() - started < EVERYWHERE_S


async def test_a_refresh_token_is_exchanged_for_fresh_tokens(service):
    user = await service.register()
    granted = await login(service, user)
    status, fresh = await refresh(service, granted["refresh_token"])
    assert status == 200
    assert fresh["refresh_token"] != granted["refresh_token"]
    assert fresh["user"]["id"] == user.id
    assert {"access_token", "token_type", "expires_in", "refresh_token", "refresh_expires_in", "user"} == set(fresh)
    assert await statuses(service, fresh["access_token"]) == {200}
    assert await statuses(service, granted["access_token"]) == {200}, "an access token lives its time"
    status, _ = await refresh(service, fresh["refresh_token"])
    assert status == 200


async def test_a_refresh_token_that_is_used_again_ends_the_session_on_every_front(service):
    user = await service.register()
    granted, other = await login(service, user), await login(service, user)
    _, fresh = await refresh(service, granted["refresh_token"])
    assert await statuses(service, fresh["access_token"]) == {200}
    assert await refresh(service, granted["refresh_token"]) == (401, "invalid_refresh_token")
    assert await refresh(service, fresh["refresh_token"]) == (401, "invalid_refresh_token")
    await is_refused_everywhere(service, fresh["access_token"])
    await is_refused_everywhere(service, granted["access_token"])
    assert await statuses(service, other["access_token"]) == {200}, "the user's other session goes on"


async def test_of_many_exchanges_of_one_refresh_token_at_once_one_wins_and_the_session_ends(service):
    granted = await login(service, await service.register())
    answers = await asyncio.gather(*(refresh(service, granted["refresh_token"]) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200, 401, 401, 401, 401]
    (fresh,) = (answer for status, answer in answers if status == 200)
    assert await refresh(service, fresh["refresh_token"]) == (401, "invalid_refresh_token")


async def test_a_logout_by_the_access_token_ends_the_session_on_every_front(service):
    user = await service.register()
    granted = await login(service, user)
    access = {"Authorization": f"Bearer {granted['access_token']}"}
    assert await statuses(service, granted["access_token"]) == {200}
    status, answer, _ = await service.call("POST", LOGOUT, headers=access)
    assert (status, answer) == (204, None)
    await is_refused_everywhere(service, granted["access_token"])
    assert await refresh(service, granted["refresh_token"]) == (401, "invalid_refresh_token")
    assert await statuses(service, user.token) == {200}, "another session of the user goes on"


async def test_a_logout_by_the_refresh_token_needs_no_access_token_and_may_be_repeated(service):
    granted = await login(service, await service.register())
    body = {"session": {"refresh_token": granted["refresh_token"]}}
    for _ in range(2):
        status, _, _ = await service.call("POST", LOGOUT, json=body)
        assert status == 204
    await is_refused_everywhere(service, granted["access_token"])


async def test_a_revoked_session_stays_refused_by_a_front_that_starts_later(service):
    granted = await login(service, await service.register())
    await service.call("POST", LOGOUT, json={"session": {"refresh_token": granted["refresh_token"]}})
    await service.kill("http-0")
    await service.kill("http-1")
    await service.reconnect()
    async with asyncio.timeout(10):
        while True:  # killed fronts leave connections that nobody accepts
            try:
                assert await statuses(service, granted["access_token"]) == {401}
                break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def test_a_socket_of_a_session_that_ends_is_closed(service):
    granted = await login(service, await service.register())
    address = f"/socket/websocket?vsn=2.0.0&token={granted['access_token']}"
    async with service.session.ws_connect(address) as socket:
        await service.call("POST", LOGOUT, json={"session": {"refresh_token": granted["refresh_token"]}})
        async with asyncio.timeout(EVERYWHERE_S):
            message = await socket.receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.POLICY_VIOLATION)


@pytest.mark.parametrize("token", ["", "x", "bnr_" + "A" * 86, "bnr_" + "\u00e4" * 86, "x" * 256])
async def test_a_refresh_token_that_was_never_made_is_refused(service, token):
    assert await refresh(service, token) == (401, "invalid_refresh_token")
    status, _, _ = await service.call("POST", LOGOUT, json={"session": {"refresh_token": token}})
    assert status == 401


async def test_a_refresh_token_is_no_access_token_and_the_other_way_round(service):
    granted = await login(service, await service.register())
    assert await statuses(service, granted["refresh_token"]) == {401}
    assert await refresh(service, granted["access_token"]) == (401, "invalid_refresh_token")


async def test_a_logout_of_nobody_is_refused(service):
    status, answer, _ = await service.call("POST", LOGOUT)
    assert (status, answer["code"]) == (401, "unauthorized")

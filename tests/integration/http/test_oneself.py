"""GET /users/me may be answered from what was read a moment ago: never for longer, and never against an own change."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest
import pytest_asyncio

from bitnexus.http.callers import FRESH_S
from tests.service import new_session

pytestmark = pytest.mark.asyncio(loop_scope="session")

ME = "/api/v1/users/me"
#: So many new connections reach both fronts, but for one time in a hundred thousand.
CONNECTIONS = 18


@pytest_asyncio.fixture(loop_scope="session")
async def connections(service):
    """Connections to both fronts, each kept open by its session."""
    sessions = [new_session(service.port) for _ in range(CONNECTIONS)]
    yield sessions
    for session in sessions:
        await session.close()


async def read(session, user):
    async with session.get(ME, headers=user.headers) as response:
        body = await response.json()
        return response.status, body.get("data", {}).get("name"), response.headers.get("ETag")


async def rename(session, user, name, match="*"):
    body, headers = {"user": {"name": name}}, {**user.headers, "If-Match": match}
    async with session.patch(ME, json=body, headers=headers) as response:
        return response.status, response.headers.get("ETag")


async def test_who_changes_reads_the_change_through_the_same_connection_each_time(service, connections):
    ann = await service.register()
    tag = (await read(connections[0], ann))[2]
    for number in range(20):
        session, name = connections[0], f"Ann {number}"
        assert (await read(session, ann))[0] == 200  # and is kept
        status, tag = await rename(session, ann, name, match=tag)
        assert status == 200
        assert await read(session, ann) == (200, name, tag)


async def test_reads_beside_a_change_never_bring_the_old_back_after_it(service, connections):
    ann = await service.register()
    session = connections[0]
    for number in range(10):
        # Some are of the same front, and read while the change is under way.
        reads = [asyncio.ensure_future(read(each, ann)) for each in connections[1:]]
        _, tag = await rename(session, ann, str(number))
        seen = await read(session, ann)
        await asyncio.gather(*reads)
        assert seen == (200, str(number), tag)
        assert await read(session, ann) == (200, str(number), tag)


async def test_every_front_shows_a_change_within_half_a_second(service, connections):
    ann = await service.register()
    await rename(connections[0], ann, "old")
    await asyncio.sleep(FRESH_S)
    stale = 0
    for name in ("new", "newer"):
        old = {await read(session, ann) for session in connections}
        assert len(old) == 1
        status, tag = await rename(connections[0], ann, name)
        changed = monotonic()
        assert status == 200
        while True:
            begun = monotonic()
            found = await asyncio.gather(*(read(session, ann) for session in connections))
            assert set(found) <= old | {(200, name, tag)}
            if begun - changed >= FRESH_S:
                break
            stale += not old.isdisjoint(found)
            await asyncio.sleep(0.02)
        assert set(found) == {(200, name, tag)}
    assert stale, "nothing was kept at all, or there is one front only"


async def test_a_tag_that_is_behind_overwrites_nothing(service, connections):
    ann = await service.register()
    first = (await read(connections[0], ann))[2]
    status, second = await rename(connections[0], ann, "Ann")
    assert status == 200
    for session in connections:
        assert (await rename(session, ann, "lost", match=first))[0] == 412
        status, second = await rename(session, ann, "Anna", match=second)
        assert status == 200


async def test_who_is_deleted_is_nobody_at_once_here_and_soon_everywhere(service, connections):
    admin, ann = await service.admin(), await service.register()
    for session in connections:
        assert (await read(session, ann))[0] == 200
    headers = {**admin.headers, "If-Match": "*"}
    async with connections[0].delete(f"/api/v1/users/{ann.id}", headers=headers) as response:
        assert response.status == 204
    deleted = monotonic()
    assert (await read(connections[0], ann))[0] == 401
    while True:
        begun = monotonic()
        found = {(await read(session, ann))[0] for session in connections}
        if begun - deleted >= FRESH_S:
            break
    assert found == {401}

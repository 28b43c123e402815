"""How a front's requests come to an end."""

from __future__ import annotations

import asyncio

from bitnexus.http.traffic import Traffic

PATIENCE_S = 10.0


async def test_a_client_between_two_requests_is_told_by_the_answer_to_the_next_one() -> None:
    traffic, connections = Traffic(), [object()]
    draining = asyncio.create_task(traffic.drain(1000.0, lambda: len(connections)))
    async with asyncio.timeout(PATIENCE_S):
        while not traffic.draining:
            await asyncio.sleep(0)
        assert not draining.done()
        traffic.enter()
        connections.clear()  # the connection is counted until its last answer is sent; here it ends before that
        traffic.leave()
        assert await draining


async def test_connections_that_stay_silent_are_not_waited_for_in_vain() -> None:
    traffic = Traffic()
    async with asyncio.timeout(PATIENCE_S):
        assert await traffic.drain(1000.0, lambda: 1)


async def test_a_request_that_takes_too_long_is_told_of() -> None:
    traffic = Traffic()
    traffic.enter()
    async with asyncio.timeout(PATIENCE_S):
        assert not await traffic.drain(0.02)
        traffic.leave()
        assert await traffic.drain(0.02)


async def test_a_drain_has_begun_when_it_is_asked_for_and_ends_when_somebody_resumes() -> None:
    traffic = Traffic()
    traffic.enter()
    draining = traffic.drain(1000.0)
    assert traffic.draining
    traffic.resume()  # before a turn of the loop: what was asked for last holds
    async with asyncio.timeout(PATIENCE_S):
        assert not await draining
        task = asyncio.create_task(traffic.drain(1000.0))
        await asyncio.sleep(0)
        traffic.resume()
        assert not await task
    assert not traffic.draining

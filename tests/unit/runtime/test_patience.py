"""Only the time in which a process runs uses up its patience."""

from __future__ import annotations

import asyncio
import time

from bitnexus.actors.runtime.patience import wait_at_work


async def test_what_is_ready_in_time_is_not_waited_for_longer() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.15, event.set)
    begun_at = time.monotonic()
    assert await wait_at_work(event.wait, 10.0)
    assert time.monotonic() - begun_at < 5.0


async def test_what_does_not_come_is_given_up_after_the_time() -> None:
    begun_at = time.monotonic()
    assert not await wait_at_work(asyncio.Event().wait, 0.3)
    assert time.monotonic() - begun_at >= 0.29


async def test_time_in_which_the_process_did_not_run_does_not_count() -> None:
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    # What makes it ready has arrived meanwhile, and is read a few turns after the process goes on.
    def hang() -> None:
        time.sleep(1.0)
        loop.call_later(0.25, event.set)

    loop.call_later(0.05, hang)
    assert await wait_at_work(event.wait, 0.6)

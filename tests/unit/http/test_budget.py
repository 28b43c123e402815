from __future__ import annotations

import asyncio

import pytest

from bitnexus.errors import Overloaded
from bitnexus.http.budget import Budget


async def test_what_fits_does_not_wait_and_what_does_not_waits_its_turn():
    budget, order = Budget(10), []

    async def use(name, units, until):
        async with budget.take(units, timeout_s=5):
            order.append(name)
            assert budget.taken <= 10
            await until.wait()

    release = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(use("six", 6, release))
        group.create_task(use("four", 4, release))
        late = group.create_task(use("one", 1, release))
        while len(order) < 2:
            await asyncio.sleep(0)
        assert not late.done()
        assert order == ["six", "four"]
        release.set()
    assert order == ["six", "four", "one"]
    assert budget.taken == 0


async def test_more_than_there_is_goes_alone():
    budget = Budget(10)
    async with budget.take(11, timeout_s=1):
        with pytest.raises(Overloaded):
            async with budget.take(1, timeout_s=0.01):
                pytest.fail("there was nothing left")


async def test_who_fails_or_gives_up_gives_back():
    budget = Budget(10)
    with pytest.raises(ZeroDivisionError):
        async with budget.take(10, timeout_s=1):
            raise ZeroDivisionError
    async with budget.take(10, timeout_s=1):
        with pytest.raises(Overloaded):
            async with budget.take(1, timeout_s=0.01):
                pytest.fail("there was nothing left")
    assert budget.taken == 0
    async with budget.take(10, timeout_s=1):
        pass

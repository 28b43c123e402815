from __future__ import annotations

import asyncio

import pytest

from bitnexus.actors.runtime.log_tail import BURST, FLUSH_S, LogLines, LogTail
from bitnexus.config import logging as log_lines


@pytest.fixture(autouse=True)
def untapped():
    yield
    log_lines.tap(None)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_lines_come_in_order_and_those_beyond_the_rate_are_counted():
    got: list[LogLines] = []
    tail = LogTail("ledger", asyncio.get_running_loop())
    tail.follow("http-0", 60, got.append)
    for number in range(BURST + 10):
        tail._take(str(number))
    await until(lambda: got)
    assert got[0].process == "ledger"
    assert got[0].lines == [str(number) for number in range(BURST)]
    assert sum(message.dropped for message in got) == 10


async def test_who_does_not_ask_again_is_forgotten_and_then_nothing_is_kept():
    got: list[LogLines] = []
    tail = LogTail("ledger", asyncio.get_running_loop())
    tail.follow("http-0", FLUSH_S / 2, got.append)
    assert log_lines._tap is not None
    await until(lambda: log_lines._tap is None)
    assert not tail._lines
    assert not got
    tail.follow("http-0", 60, got.append)
    tail._take("again")
    await until(lambda: got)
    assert got[0].lines == ["again"]

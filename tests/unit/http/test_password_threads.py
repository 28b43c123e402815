from __future__ import annotations

import asyncio

import pytest

from bitnexus.errors import Overloaded
from bitnexus.http.password_threads import PasswordThreads


@pytest.fixture
def threads():
    made = PasswordThreads(threads=1, max_waiting=2)
    yield made
    made.close()


async def test_a_password_fits_its_hash_alone(threads):
    hashed = await threads.hash("correct horse")
    assert (await threads.verify("correct horse", hashed))[0]
    assert not (await threads.verify("battery staple", hashed))[0]
    assert not (await threads.verify("correct horse", None))[0]


async def test_more_than_may_wait_are_refused_and_the_others_are_answered(threads):
    results = await asyncio.gather(*(threads.hash("x") for _ in range(3)), return_exceptions=True)
    assert [isinstance(result, Overloaded) for result in results] == [False, False, True]
    assert await threads.hash("room again")

"""Reads that come together are one query, and nobody hears what was read before the question came."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from bitnexus.errors import BitNexusError, CallTimeout, DatabaseUnavailable, NotFound, Overloaded
from bitnexus.http import gathering
from bitnexus.http.gathering import AT_ONCE, Gathering, finishing

pytestmark = pytest.mark.asyncio


class Store:
    """Answers a question with how many queries had begun; a negative one is not found. Waits while it is shut."""

    def __init__(self) -> None:
        self.queries: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def read(self, questions: Sequence[int]) -> Mapping[int, int]:
        self.queries.append(list(questions))
        begun = len(self.queries)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return {question: begun for question in questions if question >= 0}


@pytest.fixture
def store() -> Store:
    return Store()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_asked_in_one_turn_is_one_query_and_each_question_in_it_once(store):
    reads = Gathering(store.read, most=10, timeout_s=5)
    assert await asyncio.gather(*map(reads.get, [1, 2, 1, -3])) == [1, 1, 1, None]
    assert store.queries == [[1, 2, -3]]
    assert await reads.get(1) == 2, "it is read anew"


async def test_no_query_has_too_many_questions_and_few_are_under_way_at_a_time(store):
    reads = Gathering(store.read, most=3, timeout_s=5)
    store.open.clear()
    asked = [asyncio.create_task(reads.get(number)) for number in range(10)]
    await turns()
    assert store.queries == [[0, 1, 2], [3, 4, 5]]
    assert len(store.queries) == AT_ONCE
    store.open.set()
    assert await asyncio.gather(*asked) == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]


async def test_who_asks_while_the_same_is_being_read_is_answered_by_a_later_query(store):
    reads = Gathering(store.read, most=10, timeout_s=5)
    store.open.clear()
    first = asyncio.create_task(reads.get(1))
    await turns()
    second = asyncio.create_task(reads.get(1))
    await turns()
    store.open.set()
    assert (await first, await second) == (1, 2)


@pytest.mark.parametrize(
    ("error", "told"), [(DatabaseUnavailable(), DatabaseUnavailable), (RuntimeError("a fault"), BitNexusError)]
)
async def test_a_failure_is_told_to_those_who_asked_and_the_next_ones_are_served(store, error, told):
    reads = Gathering(store.read, most=10, timeout_s=5)
    store.error = error
    answers = await asyncio.gather(reads.get(1), reads.get(2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [told, told]
    store.error = None
    assert await reads.get(1) == 2


async def test_nobody_waits_longer_than_the_deadline_however_many_wait_before(store):
    reads = Gathering(store.read, most=1, timeout_s=0.05)
    store.open.clear()
    began = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*map(reads.get, range(9)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [CallTimeout] * 9
    assert asyncio.get_running_loop().time() - began < 0.05 * 4, "they wait at the same time, not one after another"


async def test_who_goes_away_leaves_the_others_their_answers(store):
    reads = Gathering(store.read, most=10, timeout_s=5)
    store.open.clear()
    leaving, staying = asyncio.create_task(reads.get(1)), asyncio.create_task(reads.get(1))
    await turns()
    leaving.cancel()
    store.open.set()
    assert await staying == 1
    assert leaving.cancelled()


async def test_a_fault_in_telling_one_is_not_the_others(store):
    reads = Gathering(store.read, most=10, timeout_s=5)

    def broken(_: object) -> None:
        raise RuntimeError("a fault")

    reads.ask(1, broken)
    assert await reads.get(1) == 1


async def test_one_too_many_is_refused_and_room_is_made_again(store, monkeypatch):
    monkeypatch.setattr(gathering, "MOST_WAITING", 2)
    reads = Gathering(store.read, most=10, timeout_s=5)
    asked = [asyncio.create_task(reads.get(number)) for number in (1, 1)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await reads.get(2)
    assert await asyncio.gather(*asked) == [1, 1]
    assert await reads.get(2) == 2


async def test_a_request_is_finished_once_whatever_comes_of_it():
    outcomes: list[object] = []

    def answer(found: int | None):
        if found is None:
            raise NotFound
        return 200 // found, b"", {}

    told = finishing(outcomes.append, answer)
    unavailable = DatabaseUnavailable()
    for found in (1, None, unavailable, 0):
        told(found)
    assert outcomes[0] == (200, b"", {})
    assert [type(outcome) for outcome in outcomes[1:]] == [NotFound, DatabaseUnavailable, BitNexusError]

"""Reads that come at the same time are one query: who asks while others are being answered joins those who wait.

So a query, a connection of the pool and a turn of the loop are shared, the more of them the busier the front is. At
rest a read leaves at the end of the turn in which it came. Nobody is answered by a query that had left before: what
was acknowledged to a client before it asked is in what it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Final, Generic, TypeAlias, TypeVar

import structlog

from bitnexus.errors import BitNexusError, CallTimeout, Overloaded
from bitnexus.http.fast_path import Answer, Finish

K = TypeVar("K")
V = TypeVar("V")

#: So many queries of one kind are under way at a time: one that takes long does not hold up all others.
AT_ONCE: Final = 2
#: Who would be one more is refused.
MOST_WAITING: Final = 4_096

#: Called once, with what was found, None if nothing was, or the error.
Told: TypeAlias = Callable[[V | BitNexusError | None], None]

log = structlog.get_logger(__name__)


class Gathering(Generic[K, V]):
    """Gathers questions for `read`, at most `most` different ones in each call of it.

    Nobody waits longer than `timeout_s`; who asks what is waiting already, no longer than that.
    """

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], *, most: int, timeout_s: float) -> None:
        self._read = read
        self._most = most
        self._timeout_s = timeout_s
        #: The questions, in their order, with until when they must be answered, and who asked.
        self._waiting: dict[K, tuple[float, list[Told[V]]]] = {}
        self._count = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_starting = False

    def ask(self, question: K, told: Told[V]) -> None:
        """Have `told` called, later.

        Raises:
            Overloaded: too many are waiting.
        """
        if self._count >= MOST_WAITING:
            raise Overloaded
        loop = asyncio.get_running_loop()
        self._count += 1
        asked = self._waiting.get(question)
        if asked is not None:
            asked[1].append(told)
            return
        self._waiting[question] = (loop.time() + self._timeout_s, [told])
        if not self._is_starting and len(self._under_way) < AT_ONCE:
            self._is_starting = True
            loop.call_soon(self._start)  # when all that has arrived in this turn is parsed

    async def get(self, question: K) -> V | None:
        """What was found; None: nothing.

        Raises:
            BitNexusError: as `read` does; CallTimeout: it took too long; Overloaded: too many are waiting.
        """
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()

        def told(found: V | BitNexusError | None) -> None:
            if future.done():
                return  # nobody waits any more
            if isinstance(found, BitNexusError):
                future.set_exception(found)
            else:
                future.set_result(found)

        self.ask(question, told)
        return await future

    def _start(self) -> None:
        self._is_starting = False
        while self._waiting and len(self._under_way) < AT_ONCE:
            questions = list(islice(self._waiting, self._most))
            asked = {question: self._waiting.pop(question) for question in questions}
            self._count -= sum(len(told) for _, told in asked.values())
            task = asyncio.create_task(self._answer(asked))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._start()

    async def _answer(self, asked: Mapping[K, tuple[float, list[Told[V]]]]) -> None:
        until = next(iter(asked.values()))[0]  # the oldest
        found: Mapping[K, V] = {}
        failure: BitNexusError | None = None
        try:
            async with asyncio.timeout_at(until):
                found = await self._read(list(asked))
        except BitNexusError as error:
            failure = error
        except TimeoutError:
            failure = CallTimeout()
        except Exception:
            log.exception("read_failed", questions=len(asked))
            failure = BitNexusError()
        for question, (_, told) in asked.items():
            value = found.get(question) if failure is None else failure
            for each in told:
                try:
                    each(value)
                except Exception:
                    log.exception("answer_failed")  # of one of them: the others are told all the same


def finishing(finish: Finish, answer: Callable[[V | None], Answer]) -> Told[V]:
    """Who is told so, finishes a request with the `answer` made of what was found, or with the error."""

    def told(found: V | BitNexusError | None) -> None:
        try:
            outcome = found if isinstance(found, BitNexusError) else answer(found)
        except BitNexusError as error:
            outcome = error
        except Exception:
            log.exception("answer_failed")
            outcome = BitNexusError()
        finish(outcome)

    return told

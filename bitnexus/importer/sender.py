"""Sends batches to ``POST /api/v1/transactions/batch``, one after the other, until each of their lines is decided.

A batch that got no answer, or was not begun, is sent again: its ids make that safe. A batch that is refused as a whole,
for one of its lines, is divided until that line stands alone.
"""

from __future__ import annotations

import asyncio
import io
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import aiohttp
import orjson

from bitnexus.errors import BitNexusError, Unauthorized
from bitnexus.importer.batching import body_of
from bitnexus.importer.records import Record, Wrong

PATH: Final = "/api/v1/transactions/batch"
ANSWER_S: Final = 60.0
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
OK: Final = 200
#: Statuses with which something of the batch itself is refused, before any effect.
_OF_A_LINE: Final = frozenset({400, 403, 404, 413, 422})
_UNAUTHORIZED: Final = 401

#: Told of each record that is decided: with None when it is posted (True: it had been before), or why it is refused.
Decided = Callable[[Record, Wrong | None, bool], None]


class GaveUp(BitNexusError):
    """The service did not take a batch for too long; what was decided stays so, the import can be begun again."""

    code, title = "gave_up", "The service does not answer"


class Sender:
    """One import's connection; an asynchronous context manager. `patience_s`: how long it goes on without success."""

    def __init__(self, url: str, token: str, *, patience_s: float, on_trouble: Callable[[str], None]) -> None:
        self._patience_s = patience_s
        self._on_trouble = on_trouble
        self._url = url.rstrip("/") + PATH
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=10.0)
        self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, records: Sequence[Record], decided: Decided) -> None:
        """Have the records decided, in their order.

        Raises:
            Unauthorized: the token is not valid, or no longer.
            GaveUp: no success for too long.
        """
        if not records:
            return
        status, answer = await self._post(body_of(records))
        if status == OK:
            for record, result in zip(records, answer["data"]["results"], strict=True):
                refused = result["status"] == "refused"
                wrong = Wrong(result["code"], result["detail"]) if refused else None
                decided(record, wrong, bool(result.get("replayed")))
        elif status not in _OF_A_LINE:
            raise GaveUp(f"The service answers {status}: {_said(answer)}")
        elif len(records) == 1:
            decided(records[0], Wrong(str(answer.get("code", status)), _said(answer)), False)  # noqa: FBT003 - by position
        else:
            half = len(records) // 2
            await self.send(records[:half], decided)
            await self.send(records[half:], decided)

    async def _post(self, body: bytes) -> tuple[int, Any]:
        """Status and parsed body of an answer that says something about the batch."""
        until, pause_s = time.monotonic() + self._patience_s, FIRST_PAUSE_S
        while True:
            asked_s = 0.0
            try:
                # aiohttp wants a file for a large body, so that it is sent in pieces.
                async with self._session.post(self._url, data=io.BytesIO(body), headers=self._headers) as response:
                    answer = _parsed(await response.read())
                    if response.status == _UNAUTHORIZED:
                        raise Unauthorized(_said(answer))
                    if response.status < 500 and response.status not in {408, 429}:  # noqa: PLR2004 - statuses
                        return response.status, answer
                    trouble = f"the service answers {response.status}: {_said(answer)}"
                    asked_s = _seconds(response.headers.get("Retry-After", ""))
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                trouble = f"no answer: {str(error) or type(error).__name__}"
            if time.monotonic() >= until:
                raise GaveUp(f"For {self._patience_s:g} s: {trouble}")
            self._on_trouble(trouble)
            await asyncio.sleep(max(asked_s, pause_s) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _parsed(body: bytes) -> dict[str, Any]:
    """The answer; of one that is not ours (a proxy's), nothing."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _said(answer: dict[str, Any]) -> str:
    pointers = answer.get("pointers")
    if pointers:
        return f"{pointers[0]['pointer'].rpartition('/')[2]}: {pointers[0]['detail']}"
    return str(answer.get("detail", "no explanation"))


def _seconds(header: str) -> float:
    return min(float(header), LONGEST_PAUSE_S) if header.isdecimal() else 0.0

"""Sends batches to ``POST /api/v1/transactions/batch``, one after the other, until each of their lines is decided.

A batch that got no answer, or was not begun, is sent again: its ids make that safe. A batch that is refused as a whole,
for one of its lines, is divided until that line stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from bitnexus.errors import BitNexusError, Unauthorized
from bitnexus.http.client import ApiError, Client, ClientError, Problem, Unauthenticated
from bitnexus.importer.batching import body_of
from bitnexus.importer.records import Record, Wrong

ANSWER_S: Final = 60.0
#: Statuses with which something of the batch itself is refused, before any effect.
_OF_A_LINE: Final = frozenset({400, 403, 404, 413, 422})
#: All others but these say that the service cannot do it just now.
_OF_NOW: Final = frozenset({408, 429, *range(500, 600)})

#: Told of each record that is decided: with None when it is posted (True: it had been before), or why it is refused.
Decided = Callable[[Record, Wrong | None, bool], None]


class GaveUp(BitNexusError):
    """The service did not take a batch for too long; what was decided stays so, the import can be begun again."""

    code, title = "gave_up", "The service does not answer"


class Sender:
    """One import's connection; an asynchronous context manager. `patience_s`: how long it goes on without success."""

    def __init__(self, url: str, token: str, *, patience_s: float, on_trouble: Callable[[str], None]) -> None:
        self._patience_s = patience_s
        self._api = Client(
            url, tokens=token, deadline_s=patience_s, attempt_s=ANSWER_S, statuses=_OF_NOW, on_trouble=on_trouble
        )

    async def __aenter__(self) -> Self:
        await self._api.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._api.__aexit__(*error)

    async def send(self, records: Sequence[Record], decided: Decided) -> None:
        """Have the records decided, in their order.

        Raises:
            Unauthorized: the token is not valid, or no longer.
            GaveUp: no success for too long.
        """
        if not records:
            return
        try:
            results = await self._post(body_of(records))
        except ApiError as error:
            problem = error.problem
            if problem.status not in _OF_A_LINE:
                raise GaveUp(f"The service answers {problem.status}: {_said(problem)}") from error
            if len(records) == 1:
                decided(records[0], Wrong(problem.code, _said(problem)), False)  # noqa: FBT003 - by position
                return
        else:
            for record, result in zip(records, results, strict=True):
                refused = result["status"] == "refused"
                wrong = Wrong(result["code"], result["detail"]) if refused else None
                decided(record, wrong, bool(result.get("replayed")))
            return
        half = len(records) // 2
        await self.send(records[:half], decided)
        await self.send(records[half:], decided)

    async def _post(self, body: bytes) -> list[dict[str, Any]]:
        try:
            answer = await self._api.transactions.batch_of(body)
        except Unauthenticated as error:
            raise Unauthorized(_said(error.problem)) from error
        except ClientError as error:
            if isinstance(error, ApiError) and error.problem.status not in _OF_NOW:
                raise
            raise GaveUp(f"For {self._patience_s:g} s: {error}") from error
        results: list[dict[str, Any]] = answer.json()["data"]["results"]
        return results


def _said(problem: Problem) -> str:
    if problem.pointers:
        first = problem.pointers[0]
        return f"{first['pointer'].rpartition('/')[2]}: {first['detail']}"
    return problem.detail or "no explanation"

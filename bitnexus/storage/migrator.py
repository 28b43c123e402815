"""The schema's status and migration, in a process that ends with the work; for `serve`, before it forks.

Alembic and SQLAlchemy take 30 MB. A process that loaded them would hand them on to every actor it forks, so `serve`
asks here, and a fresh interpreter does the work of `bitnexus.storage.schema`. It gets the URL, which may hold a
password, by its standard input: arguments can be read by everybody on the machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from bitnexus.errors import BitNexusError, DatabaseUnavailable
from bitnexus.storage.schema_status import SchemaError, Status

_TIMEOUT_S = 600.0
#: The directory that holds the package: it need not be installed, nor be the working directory.
_HOME = str(Path(__file__).parents[2])

Work = Literal["create", "migrate", "status"]


def create(url: str) -> bool:
    """As `bitnexus.storage.schema.create`; blocks."""
    return bool(_ask("create", url))


def migrate(url: str) -> tuple[str, ...]:
    """As `bitnexus.storage.schema.migrate`, up to the newest revision; blocks."""
    return tuple(_ask("migrate", url))


def status(url: str) -> Status:
    """As `bitnexus.storage.schema.status`; blocks."""
    current, head, pending = _ask("status", url)
    return Status(current, head, tuple(pending))


def _ask(work: Work, url: str) -> Any:  # noqa: ANN401 - as the work has it
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and this module
            [sys.executable, "-P", "-m", __name__, work],
            env=os.environ | {"PYTHONPATH": _HOME},
            input=url,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SchemaError(f"The schema's {work} took longer than {_TIMEOUT_S:.0f} s and was ended.") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise SchemaError(f"The schema's {work} failed:\n{done.stderr[-4000:]}") from None
    if "error" not in answer:
        return answer["result"]
    kind = DatabaseUnavailable if answer["error"] == DatabaseUnavailable.code else SchemaError
    raise kind(answer["detail"])


async def _work(work: Work, url: str) -> object:
    from bitnexus.storage import schema  # noqa: PLC0415 - the parent must not load it

    if work == "create":
        return await schema.create(url)
    if work == "migrate":
        return await schema.migrate(url)
    found = await schema.status(url)
    return found.current, found.head, found.pending


def _answer(work: Work, url: str) -> dict[str, object]:
    try:
        return {"result": asyncio.run(_work(work, url))}
    except BitNexusError as error:
        return {"error": error.code, "detail": error.detail}


if __name__ == "__main__":
    json.dump(_answer(sys.argv[1], sys.stdin.read()), sys.stdout)  # type: ignore[arg-type]

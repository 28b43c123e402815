"""The same transfer as SQL, by PostgreSQL's own pgbench: one transaction each, as fast as its clients can.

Two forms, since it is a matter of taste which one is "the" SQL: five statements between BEGIN and COMMIT, as an
application would send them, and one call of a function in the server, which is one round trip.

What is done to make it fast: prepared statements; accounts by small integers (the ledger's are UUIDs); no index but the
two primary keys; transfers' ids in the order of time, as the ledger's are; room on the accounts' pages for HOT updates;
rows locked in the order of their keys, so that no transaction is ever rolled back by a deadlock.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from bench.servers import Server, ask, create_database, libpq_environment
from bitnexus.storage import server_binaries

DATABASE: Final = "pgbench_peer"
_DEBIAN: Final = Path("/usr/lib/postgresql")
_GRACE_S: Final = 60.0

SCHEMA: Final = """
CREATE TABLE accounts (
    id int PRIMARY KEY,
    balance bigint NOT NULL CHECK (balance >= 0)
) WITH (fillfactor = 70);
CREATE TABLE transfers (
    id uuid PRIMARY KEY,
    debit_account_id int NOT NULL,
    credit_account_id int NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    debit_balance bigint NOT NULL,
    credit_balance bigint NOT NULL,
    inserted_at timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION transfer(debit int, credit int, amount bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    debit_balance bigint;
    credit_balance bigint;
BEGIN
    PERFORM FROM accounts WHERE id IN (debit, credit) ORDER BY id FOR UPDATE;
    UPDATE accounts SET balance = balance - amount WHERE id = debit RETURNING balance INTO debit_balance;
    UPDATE accounts SET balance = balance + amount WHERE id = credit RETURNING balance INTO credit_balance;
    INSERT INTO transfers (id, debit_account_id, credit_account_id, amount, debit_balance, credit_balance)
    VALUES (uuidv7(), debit, credit, amount, debit_balance, credit_balance);
END $$;
"""
_TWO: Final = """
\\set debit random(1, :accounts)
\\set credit 1 + (:debit + random(0, :accounts - 2)) % :accounts
"""
#: Of each four transfers one debits account 1 and one credits it; the other two do not touch it.
_HOT: Final = """
\\set side random(1, 4)
\\set first random(2, :accounts)
\\set second 2 + (:first - 2 + random(1, :accounts - 2)) % (:accounts - 1)
\\set debit CASE WHEN :side = 1 THEN 1 ELSE :first END
\\set credit CASE WHEN :side = 2 THEN 1 ELSE :second END
"""
CHOICES: Final = {"any": _TWO, "hot": _HOT}
SCRIPTS: Final = {
    "statements": """
BEGIN;
SELECT FROM accounts WHERE id IN (:debit, :credit) ORDER BY id FOR UPDATE;
UPDATE accounts SET balance = balance - 1 WHERE id = :debit RETURNING balance AS debit_balance \\gset
UPDATE accounts SET balance = balance + 1 WHERE id = :credit RETURNING balance AS credit_balance \\gset
INSERT INTO transfers (id, debit_account_id, credit_account_id, amount, debit_balance, credit_balance)
VALUES (uuidv7(), :debit, :credit, 1, :debit_balance, :credit_balance);
COMMIT;
""",
    "function": "SELECT transfer(:debit, :credit, 1);\n",
}


@dataclass(frozen=True, slots=True)
class Ran:
    """What pgbench saw; latencies in ms."""

    transfers: int
    per_second: float
    p50_ms: float
    p99_ms: float
    p90_ms: float
    max_ms: float


def program() -> Path | None:
    """A pgbench: that of the embedded server's package, else one that is installed; None if there is none."""
    bundled = server_binaries.site_of_package() / server_binaries.PACKAGE
    candidates = [bundled / f"pginstall{server_binaries.MAJOR_VERSION}" / "bin" / "pgbench"]
    if (found := shutil.which("pgbench")) is not None:
        candidates.append(Path(found))
    candidates += sorted(_DEBIAN.glob("*/bin/pgbench"), reverse=True)
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


class PgBench:
    """pgbench in a database of its own of the server that is shared."""

    def __init__(self, path: Path, server: Server, *, clients: int, accounts: int) -> None:
        self._path, self._url = path, server.url_of(DATABASE)
        self._server = server
        self._clients, self._accounts = clients, accounts

    async def start(self) -> str:
        """Make its database; which pgbench it is."""
        await create_database(self._server, self._url)
        db = await asyncpg.connect(self._url)
        try:
            await db.execute(SCHEMA)
            await db.execute(
                f"INSERT INTO accounts (id, balance) SELECT i, 1000000000 FROM generate_series(1, {self._accounts}) i"
            )
            await db.execute("VACUUM ANALYZE accounts")
        finally:
            await db.close()
        return (await self._run("--version")).strip()

    async def load(self, form: str, seconds: float, *, clients: int | None = None, choice: str = "any") -> Ran:
        """Load it for so long, with another number of clients if told; `choice` is that of the accounts.

        Raises:
            RuntimeError: pgbench failed, or the table does not hold what it says.
        """
        before = await self.recorded()
        with tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as directory:
            told = await self._run(
                *("--no-vacuum", "--protocol", "prepared", "--client", clients or self._clients, "--jobs", 1),
                *("--time", max(1, round(seconds)), "--define", f"accounts={self._accounts}"),
                *("--file", _script(directory, CHOICES[choice] + SCRIPTS[form])),
                *("--log", "--log-prefix", f"{directory}/log"),
            )
            latencies = sorted(_latencies_ms(directory))
        done = int(_number(r"number of transactions actually processed: (\d+)", told))
        recorded = await self.recorded() - before
        if recorded != done or len(latencies) != done:
            raise RuntimeError(f"pgbench counts {done} transfers, logs {len(latencies)}, the table has {recorded} more")
        rate = _number(r"tps = ([0-9.]+)", told)
        p50, p99, p90 = (latencies[int(done * share)] for share in (0.5, 0.99, 0.9))
        return Ran(done, rate, p50, p99, p90, latencies[-1])

    async def surplus(self) -> int:
        """The sum of all balances, less what it has to be."""
        return int(await ask(self._url, "SELECT sum(balance)::bigint FROM accounts")) - self._accounts * 10**9

    async def recorded(self) -> int:
        """How many transfers there are."""
        return int(await ask(self._url, "SELECT count(*) FROM transfers"))

    async def _run(self, *arguments: object) -> str:
        process = await asyncio.create_subprocess_exec(
            str(self._path),
            *map(str, arguments),
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", **libpq_environment(self._url)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(600 + _GRACE_S):
                told, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise RuntimeError(f"pgbench failed:\n{told.decode()[-2000:]}")
        return told.decode()


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"pgbench does not say {pattern}:\n{text[-2000:]}")
    return float(found[1])


def _script(directory: str, text: str) -> Path:
    path = Path(directory, "script")
    path.write_text(text)
    return path


def _latencies_ms(directory: str) -> list[float]:
    """Third column of its log: µs of each transaction."""
    return [
        int(line.split()[2]) / 1000
        for log in Path(directory).glob("log.*")
        for line in log.read_text().splitlines()
        if line
    ]

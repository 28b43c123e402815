"""What the ledger of a run holds at the end, read from its tables, and verified by the service's own command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import asyncpg

from bitnexus.actors.ledger.accounts import DEBITS_MUST_NOT_EXCEED_CREDITS
from bitnexus.storage.ledger import KINDS
from tests.chaos.history import Account, Books, Row

_ROWS: Final = """
SELECT id::text AS transfer_id, debit_account_id::text, credit_account_id::text, amount, asset, kind, seq, block,
       refusal, pending_id::text
FROM ledger_transfers
"""
_ACCOUNTS: Final = """
SELECT id::text, coalesce(owner_id::text, '') AS owner_id, asset, debits_posted, credits_posted, flags, credit_limit
FROM ledger_accounts
"""
_LAST: Final = "SELECT coalesce(max(tree_size), 0) - 1 FROM ledger_blocks"
_VERIFIED_WITHIN_S: Final = 600.0


async def read_books(url: str) -> Books:
    """All transfers and accounts, of one snapshot."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rows = await connection.fetch(_ROWS)
            accounts = await connection.fetch(_ACCOUNTS)
            last_seq = await connection.fetchval(_LAST)
    finally:
        await connection.close()
    return Books(
        tuple(Row(**{**dict(row), "kind": KINDS[row["kind"]]}) for row in rows),
        tuple(_account(row) for row in accounts),
        last_seq,
    )


def _account(row: asyncpg.Record) -> Account:
    id_, owner_id, asset, debits, credits_, flags, credit_limit = row
    may_be_overdrawn = not flags & DEBITS_MUST_NOT_EXCEED_CREDITS or credit_limit > 0
    return Account(id_, owner_id, asset, debits, credits_, may_be_overdrawn)


async def verify(environment: Mapping[str, str], directory: Path) -> str | None:
    """What ``bitnexus ledger verify`` complains about; None if it finds nothing."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bitnexus", "ledger", "verify"),
        env=environment,
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_VERIFIED_WITHIN_S):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"no result within {_VERIFIED_WITHIN_S} s"
    return None if process.returncode == 0 else said.decode(errors="replace")

"""How the outside sees a transfer and the books: the one shape of REST answers, channel events and commands. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import orjson

from bitnexus.actors.messages import Transfer, TransferAnnotated
from bitnexus.storage.ledger_accounting import AssetTotals
from bitnexus.storage.ledger_rows import BlockRow

#: What each kind of transfer is when it has been recorded; the state of a pending one later is not in it.
STATUS: Final = {
    "post": "posted",
    "pending": "pending",
    "post_pending": "posted",
    "void_pending": "voided",
    "expire_pending": "expired",
    "reversal": "posted",
}
_PLAIN: Final = "post"
#: What a transfer has become by another one of this kind, which refers to it.
_STATUS_NOW: Final = {
    "post_pending": "posted",
    "void_pending": "voided",
    "expire_pending": "expired",
    "reversal": "reversed",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def transaction(transfer: Transfer) -> dict[str, Any]:
    """The transfer as public JSON: nothing of whom it belongs to, nor of balances.

    Keys: id, debit_account_id, credit_account_id, amount (minor units), asset, code, kind, description, metadata
    (object), status, seq, block, inserted_at (RFC 3339, UTC, µs). If its kind is not "post" also what it refers to:
    pending_id and reverses_id, and of a pending one expires_at (all of them null when there is none).
    """
    shown = {
        "id": transfer.transfer_id,
        "debit_account_id": transfer.debit_account_id,
        "credit_account_id": transfer.credit_account_id,
        "amount": transfer.amount,
        "asset": transfer.asset,
        "code": transfer.code,
        "kind": transfer.kind,
        "description": transfer.description,
        "metadata": orjson.loads(transfer.metadata) if transfer.metadata else {},
        "status": STATUS[transfer.kind],
        "seq": transfer.seq,
        "block": transfer.block,
        "inserted_at": timestamp(transfer.time_us),
    }
    if transfer.kind != _PLAIN:
        shown["pending_id"] = transfer.pending_id or None
        shown["reverses_id"] = transfer.reverses_id or None
        shown["expires_at"] = timestamp(transfer.expires_us) if transfer.expires_us else None
    return shown


def resolved(shown: dict[str, Any], kind: str, transfer_id: str) -> dict[str, Any]:
    """What :func:`transaction` made of a transfer that `transfer_id`, of that kind, has resolved or reversed since."""
    return {**shown, "status": _STATUS_NOW[kind], "resolved_by": transfer_id}


def annotated(shown: dict[str, Any], words: TransferAnnotated) -> dict[str, Any]:
    """What :func:`transaction` made of a transfer to which these words have been given since."""
    metadata = orjson.loads(words.metadata) if words.metadata else {}
    return {
        **shown,
        "description": words.description,
        "metadata": metadata,
        "annotated_seq": words.seq,
        "annotated_at": timestamp(words.time_us),
    }


def resolution(transfer_id: str, by: Transfer) -> dict[str, Any]:
    """What has changed of the transfer that `by` has resolved or reversed: its id, status and resolved_by."""
    return {"id": transfer_id, "status": _STATUS_NOW[by.kind], "resolved_by": by.transfer_id}


def words(said: TransferAnnotated) -> dict[str, Any]:
    """What has changed of a transfer that was given these words: the members of :func:`annotated`, and its id."""
    return annotated({"id": said.transfer_id}, said)


def as_it_is(transfer: Transfer, resolution: tuple[str, str] | None, words: TransferAnnotated | None) -> dict[str, Any]:
    """What :func:`transaction` makes of the transfer, with what has resolved it (kind and id) and was said of it."""
    shown = transaction(transfer)
    if resolution is not None:
        shown = resolved(shown, *resolution)
    return shown if words is None else annotated(shown, words)


def transaction_json(transfer: Transfer) -> str:
    """:func:`transaction` as compact JSON text."""
    return orjson.dumps(transaction(transfer)).decode()


def block(row: BlockRow, first_seq: int) -> dict[str, Any]:
    """A block as public JSON; it holds the events `first_seq` … `tree_size` - 1. Hashes are hexadecimal."""
    return {
        "height": row.height,
        "hash": row.hash.hex(),
        "prev_hash": row.prev_hash.hex(),
        "tree_size": row.tree_size,
        "tree_root": row.tree_root.hex(),
        "first_seq": first_seq,
        "inserted_at": timestamp(row.time_us),
    }


def asset_totals(totals: AssetTotals) -> dict[str, Any]:
    """A line of the trial balance as public JSON, in minor units of the asset; integers of any length."""
    return {
        "asset": totals.asset,
        "accounts": totals.accounts,
        "debits_posted": totals.debits_posted,
        "credits_posted": totals.credits_posted,
        "debits_pending": totals.debits_pending,
        "credits_pending": totals.credits_pending,
        "difference": totals.difference,
        "difference_pending": totals.difference_pending,
    }


def timestamp(time_us: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC, always with six digits of the second's fraction."""
    seconds, fraction = divmod(time_us, 1_000_000)
    return f"{_second(seconds)}.{fraction:06d}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    # Transfers of one time are shown together: most ask for the second that was asked for last.
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")

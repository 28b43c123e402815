"""A transfer as the outside sees it."""

from __future__ import annotations

import orjson
import pytest
from msgspec import structs

from bitnexus.actors.messages import Transfer
from bitnexus.actors.representation import resolved, timestamp, transaction, transaction_json

TRANSFER = Transfer(
    "t", "d", "c", 2**53 - 1, "USD/2", 3, "Miete für März", '{"a":1}', "user", 7, 2, 1_700_000_000_000_001, 5, 6
)


def test_it_has_the_public_fields_and_nothing_of_owner_or_balance() -> None:
    assert transaction(TRANSFER) == {
        "id": "t",
        "debit_account_id": "d",
        "credit_account_id": "c",
        "amount": 2**53 - 1,
        "asset": "USD/2",
        "code": 3,
        "kind": "post",
        "description": "Miete für März",
        "metadata": {"a": 1},
        "status": "posted",
        "seq": 7,
        "block": 2,
        "inserted_at": "2023-11-14T22:13:20.000001Z",
    }


def test_its_json_is_compact_and_not_ascii_escaped() -> None:
    text = transaction_json(TRANSFER)
    assert "Miete für März" in text
    assert ": " not in text.replace("Miete", "")
    assert orjson.loads(text) == transaction(TRANSFER)


def test_a_time_has_six_digits_even_when_they_are_zero() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"


def test_another_kind_says_what_it_refers_to_and_when_it_ends() -> None:
    pending = structs.replace(TRANSFER, kind="pending", timeout_s=60)
    shown = transaction(pending)
    assert (shown["status"], shown["expires_at"]) == ("pending", "2023-11-14T22:14:20.000001Z")
    assert (shown["pending_id"], shown["reverses_id"]) == (None, None)
    posted = transaction(structs.replace(TRANSFER, kind="post_pending", pending_id="t"))
    assert (posted["status"], posted["pending_id"], posted["expires_at"]) == ("posted", "t", None)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("post_pending", "posted"), ("void_pending", "voided"), ("expire_pending", "expired"), ("reversal", "reversed")],
)
def test_what_has_become_of_a_transfer_is_told_by_the_kind_of_the_other_one(kind: str, status: str) -> None:
    shown = transaction(TRANSFER)
    assert resolved(shown, kind, "o") == {**shown, "status": status, "resolved_by": "o"}

"""The shapes of transfers, and of batches of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bitnexus.http.shapes.base import AnyJson, Seq, Shape, Time, Uuid


class Transaction(Shape):
    """A transfer. `status` is what it is now; `resolved_by` is there once another one has made it that.

    `pending_id`, `reverses_id` and `expires_at` are there if `kind` is not `post`; `annotated_…` once it was annotated.
    """

    id: Uuid
    debit_account_id: Uuid
    credit_account_id: Uuid
    amount: Annotated[int, Field(ge=0)]
    asset: str
    code: int
    kind: Literal["post", "pending", "post_pending", "void_pending", "expire_pending", "reversal"]
    description: str
    metadata: AnyJson
    status: Literal["posted", "pending", "voided", "expired", "reversed"]
    seq: Seq
    block: Seq
    inserted_at: Time
    pending_id: Uuid | None = None
    reverses_id: Uuid | None = None
    expires_at: Time | None = None
    resolved_by: Uuid | None = None
    annotated_seq: Seq | None = None
    annotated_at: Time | None = None


class Accepted(Shape):
    """The outcome of one transfer of a batch that was accepted."""

    index: int
    id: Uuid
    status: Literal["posted", "pending", "voided", "expired"]
    seq: Seq
    block: Seq
    replayed: Literal[True] | None = None


class Rejected(Shape):
    """The outcome of one transfer of a batch that was refused: the ledger's code, and a sentence."""

    index: int
    id: Uuid
    status: Literal["refused"]
    code: str
    detail: str
    replayed: Literal[True] | None = None


class Batch(Shape):
    """What became of a batch, in the order of its transfers."""

    atomic: bool
    accepted: int
    refused: int
    replayed: int
    results: list[Accepted | Rejected]

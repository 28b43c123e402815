"""What a transfer may do: its kinds, and every refusal, in the order in which they are looked for. Pure.

Idempotency, which precedes all of it, is in `commands` and `blocks`. So are, next, ``transfer_limit_exceeded`` and
``daily_limit_exceeded``: the user's transaction actor decides about these and says so in the command, but only here it
is known whether the id is new. Then come:

1. flags and kind: ``timeout_reserved_for_pending_transfer``, ``pending_id_mismatches_kind``,
   ``reverses_id_mismatches_kind``
2. ``accounts_must_be_different``
3. ``debit_account_not_found``, ``credit_account_not_found``
4. ``asset_mismatch``
5. the transfer referred to: ``pending_transfer_not_found``, ``…_not_pending``,
   ``…_has_different_(debit_account_id, credit_account_id, asset, amount)``, ``…_already_posted``, ``…_already_voided``,
   ``…_expired``; of a reversal in the same order ``reversed_transfer_…``; ``exceeds_pending_transfer_amount``
6. ``account_closed``
7. ``account_frozen``
8. ``overflow``
9. ``exceeds_credits``, ``exceeds_debits``

Of these, a transfer that resolves a pending one cannot meet 8 and 9: what it posts was reserved. To void one, and the
expiry of its time, is allowed on a frozen account.
"""

from __future__ import annotations

from typing import Final

from msgspec import structs

from bitnexus.actors.ledger.accounts import (
    CLOSED,
    CREDITS_MUST_NOT_EXCEED_DEBITS,
    DEBITS_MUST_NOT_EXCEED_CREDITS,
    MAX_TOTAL,
    NOBODY_ID,
    Account,
    expiry_id,
)
from bitnexus.actors.ledger.book import Book, InvariantBroken, Subject
from bitnexus.actors.messages import PostTransfer, Transfer, TransferRequest

POST: Final = "post"
PENDING: Final = "pending"
POST_PENDING: Final = "post_pending"
VOID_PENDING: Final = "void_pending"
EXPIRE_PENDING: Final = "expire_pending"
REVERSAL: Final = "reversal"
#: The kinds that can be asked for; the ledger alone writes EXPIRE_PENDING.
REQUESTED: Final = frozenset({POST, PENDING, POST_PENDING, VOID_PENDING, REVERSAL})
#: The kinds that moved money, and that a reversal moves back.
MOVED: Final = frozenset({POST, POST_PENDING, REVERSAL})

_RESOLVES: Final = frozenset({POST_PENDING, VOID_PENDING})
_ALREADY: Final = {
    POST_PENDING: "pending_transfer_already_posted",
    VOID_PENDING: "pending_transfer_already_voided",
    EXPIRE_PENDING: "pending_transfer_expired",
    REVERSAL: "reversed_transfer_already_reversed",
}

#: What a user's transaction actor may have refused.
BY_LIMIT: Final = frozenset({"transfer_limit_exceeded", "daily_limit_exceeded"})
#: Refusals that could be others at another time. They burn the id: every repeat is answered by the first refusal.
#: All others follow from the command and from what can never change.
BURNING: Final = BY_LIMIT | frozenset(
    {
        "debit_account_not_found",
        "credit_account_not_found",
        "pending_transfer_not_found",
        "reversed_transfer_not_found",
        "exceeds_pending_transfer_amount",
        "account_closed",
        "account_frozen",
        "overflow",
        "exceeds_credits",
        "exceeds_debits",
    }
)

Request = PostTransfer | TransferRequest


def post(  # noqa: C901, PLR0911, PLR0912 - one return per refusal, in the order of precedence
    book: Book, request: Request, subject: Subject | None, time_us: int
) -> str | None:
    """Carry a transfer out, at `time_us`; or the refusal's code if it must not be, and nothing changed.

    `subject` is the transfer that it refers to, if there is such a one.
    """
    kind = request.kind
    if kind != POST or request.pending_id or request.reverses_id or request.timeout_s:
        refusal = _of_kind(request)
        if refusal is not None:
            return refusal
    debit_id, credit_id, asset = request.debit_account_id, request.credit_account_id, request.asset
    if debit_id == credit_id:
        return "accounts_must_be_different"
    debit = book.get(debit_id)
    if debit is None:
        return "debit_account_not_found"
    credit = book.get(credit_id)
    if credit is None:
        return "credit_account_not_found"
    if debit.asset != asset or credit.asset != asset:
        return "asset_mismatch"
    if kind in _RESOLVES:
        return _of_pending(request, subject, time_us) or _resolve(book, request, subject, debit, credit)
    if kind == REVERSAL:
        refusal = _of_reversed(request, subject)
        if refusal is not None:
            return refusal
    refusal = _of_states(debit, credit) if debit.state or credit.state else None
    if refusal is None:
        refusal = exceeded_limit(debit, credit, request.amount)
    if refusal is not None:
        return refusal
    if kind == PENDING:
        book.reserve(debit, credit, request.amount)
        return None
    if subject is not None:
        book.resolve(subject, REVERSAL)
    book.post(debit, credit, request.amount)
    return None


def expire(book: Book, subject: Subject, time_us: int) -> bool:
    """Release what is reserved if the subject is still pending and its time is over; whether that is so."""
    pending = subject.transfer
    if pending.kind != PENDING or subject.resolution or not 0 < pending.expires_us <= time_us:
        return False
    debit, credit = book.get(pending.debit_account_id), book.get(pending.credit_account_id)
    if debit is None or credit is None:
        raise InvariantBroken(f"an account of the pending transfer {pending.transfer_id} is not there")
    book.reserve(debit, credit, -pending.amount)
    book.resolve(subject, EXPIRE_PENDING)
    return True


def expiry(pending: Transfer, place: tuple[int, int, int], debit_balance: int, credit_balance: int) -> Transfer:
    """The event that the pending transfer's time is over; `place` is its seq, block and time."""
    seq, block, time_us = place
    return structs.replace(
        pending,
        transfer_id=expiry_id(pending.transfer_id),
        description="",
        metadata="",
        user_id=NOBODY_ID,
        seq=seq,
        block=block,
        time_us=time_us,
        debit_balance=debit_balance,
        credit_balance=credit_balance,
        kind=EXPIRE_PENDING,
        pending_id=pending.transfer_id,
        timeout_s=0,
    )


def _resolve(book: Book, request: Request, subject: Subject | None, debit: Account, credit: Account) -> str | None:
    """Post or void what is pending."""
    assert subject is not None
    if request.kind == POST_PENDING:
        refusal = _of_states(debit, credit)
        if refusal is not None:
            return refusal
    book.reserve(debit, credit, -subject.transfer.amount)
    if request.kind == POST_PENDING:
        book.post(debit, credit, request.amount)
    book.resolve(subject, request.kind)
    return None


def _of_kind(request: Request) -> str | None:
    if request.timeout_s and request.kind != PENDING:
        return "timeout_reserved_for_pending_transfer"
    if bool(request.pending_id) != (request.kind in _RESOLVES):
        return "pending_id_mismatches_kind"
    if bool(request.reverses_id) != (request.kind == REVERSAL):
        return "reverses_id_mismatches_kind"
    return None


def _of_pending(  # noqa: PLR0911 - one return per refusal, in the order of precedence
    request: Request, subject: Subject | None, time_us: int
) -> str | None:
    if subject is None:
        return "pending_transfer_not_found"
    pending = subject.transfer
    if pending.kind != PENDING:
        return "pending_transfer_not_pending"
    for name in ("debit_account_id", "credit_account_id", "asset"):
        if getattr(request, name) != getattr(pending, name):
            return "pending_transfer_has_different_" + name
    if request.kind == VOID_PENDING and request.amount != pending.amount:
        return "pending_transfer_has_different_amount"
    if subject.resolution:
        return _ALREADY[subject.resolution]
    if 0 < pending.expires_us <= time_us:
        return "pending_transfer_expired"
    if request.amount > pending.amount:
        return "exceeds_pending_transfer_amount"
    return None


def _of_reversed(request: Request, subject: Subject | None) -> str | None:
    if subject is None:
        return "reversed_transfer_not_found"
    reversed_ = subject.transfer
    if reversed_.kind not in MOVED:
        return "reversed_transfer_not_posted"
    expected = {
        "debit_account_id": reversed_.credit_account_id,
        "credit_account_id": reversed_.debit_account_id,
        "asset": reversed_.asset,
        "amount": reversed_.amount,
    }
    for name, value in expected.items():
        if getattr(request, name) != value:
            return "reversed_transfer_has_different_" + name
    return _ALREADY[subject.resolution] if subject.resolution else None


def _of_states(debit: Account, credit: Account) -> str | None:
    if CLOSED in {debit.state, credit.state}:
        return "account_closed"
    return "account_frozen" if debit.state or credit.state else None


def exceeded_limit(debit: Account, credit: Account, amount: int) -> str | None:
    """The refusal if the amount would take either account beyond what its totals may be; both are open."""
    debits = debit.debits_posted + debit.debits_pending + amount
    credits_ = credit.credits_posted + credit.credits_pending + amount
    if debits > MAX_TOTAL or credits_ > MAX_TOTAL:
        return "overflow"
    if debit.flags & DEBITS_MUST_NOT_EXCEED_CREDITS and debits > debit.credits_posted + debit.credit_limit:
        return "exceeds_credits"
    if credit.flags & CREDITS_MUST_NOT_EXCEED_DEBITS and credits_ > credit.debits_posted + credit.credit_limit:
        return "exceeds_debits"
    return None

"""From what a client asks for to the transfer that the ledger is asked for: ids, accounts, what is left out. Pure.

What posts, voids or reverses another transfer may leave out what follows from that one: the accounts, the asset, and
the amount, if it is the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson

from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.messages import Transfer, TransferRequest
from bitnexus.errors import Forbidden, InvalidFields, NotFound, Violation
from bitnexus.http.idempotency import idempotency_key, transfer_id
from bitnexus.identifiers import new_transfer_id
from bitnexus.principal import Principal

WORLD: Final = "world"
MAX_METADATA_BYTES: Final = 4096
MAX_DESCRIPTION: Final = 500
#: The kinds that resolve a pending transfer.
RESOLVING: Final = frozenset({"post_pending", "void_pending"})
REVERSAL: Final = "reversal"
REQUIRED: Final = "Field required"


class Asked(Protocol):
    """A transfer as a client asks for it, validated; None or "" for what it has left out."""

    @property
    def kind(self) -> str: ...  # noqa: D102 - as in TransferRequest
    @property
    def pending_id(self) -> str | None: ...  # noqa: D102
    @property
    def reverses_id(self) -> str | None: ...  # noqa: D102
    @property
    def timeout_s(self) -> int: ...  # noqa: D102
    @property
    def debit_account_id(self) -> str | None: ...  # noqa: D102
    @property
    def credit_account_id(self) -> str | None: ...  # noqa: D102
    @property
    def amount(self) -> int | None: ...  # noqa: D102
    @property
    def asset(self) -> str | None: ...  # noqa: D102
    @property
    def code(self) -> int: ...  # noqa: D102
    @property
    def description(self) -> str: ...  # noqa: D102
    @property
    def metadata(self) -> dict[str, Any] | None: ...  # noqa: D102


def subject_id(asked: Asked) -> str | None:
    """The id of the transfer from which what is left out follows; None if nothing of the kind is asked for."""
    if asked.kind in RESOLVING:
        return asked.pending_id or None
    return asked.reverses_id or None if asked.kind == REVERSAL else None


def missing_fields(asked: Asked) -> list[str]:
    """The fields without which nothing can be asked for."""
    missing = [name for name in ("debit_account_id", "credit_account_id", "amount") if not getattr(asked, name)]
    if not missing or asked.kind in _COMPLETE:
        return missing
    if subject_id(asked) is None:
        return ["pending_id" if asked.kind in RESOLVING else "reverses_id"]
    return []


def request_of(  # noqa: PLR0917 - the caller and the place are the same for all of a batch
    asked: Asked,
    id_: str,
    subjects: Mapping[str, Transfer | TransferRequest],
    caller: Principal,
    default_asset: str,
    pointer: str,
    *,
    linked: bool = False,
) -> TransferRequest:
    """The request for the ledger, under the id `id_`; `pointer` is the place of `asked` in the body.

    `subjects` are the transfers that it may refer to. One that is not among them is the ledger's to judge if
    nothing needs to follow from it.

    Raises:
        InvalidFields, NotFound, Forbidden: before any effect.
    """
    if asked.pending_id and asked.reverses_id:
        raise _invalid(pointer, "reverses_id", "cannot be given together with pending_id")
    debit, credit, amount, asset = asked.debit_account_id, asked.credit_account_id, asked.amount, asked.asset
    if asked.kind not in _COMPLETE and not asset:
        subject = subjects.get(subject_id(asked) or "")
        asset = subject.asset if subject else None
    if not (debit and credit and amount):
        subject = _subject(asked, subjects, pointer)
        payer, payee = subject.debit_account_id, subject.credit_account_id
        if asked.kind == REVERSAL:
            payer, payee = payee, payer
        debit, credit, amount = debit or payer, credit or payee, amount or subject.amount
    asset = asset or default_asset
    return TransferRequest(
        id_,
        account_id(debit, asset, caller),
        account_id(credit, asset, caller),
        amount,
        asset,
        asked.kind,
        asked.code,
        asked.description,
        canonical(asked.metadata, pointer) if asked.metadata else "",
        asked.pending_id or "",
        asked.reverses_id or "",
        asked.timeout_s,
        linked,
    )


#: The kinds from whose transfers nothing may be left out but the asset.
_COMPLETE: Final = frozenset({"post", "pending"})


def _subject(
    asked: Asked, subjects: Mapping[str, Transfer | TransferRequest], pointer: str
) -> Transfer | TransferRequest:
    missing = missing_fields(asked)
    if missing:
        raise InvalidFields(violations=tuple(Violation(f"{pointer}/{name}", REQUIRED) for name in missing))
    wanted = subject_id(asked) or ""
    subject = subjects.get(wanted)
    if subject is None:
        raise NotFound(f"You have no transfer {wanted}")
    return subject


def id_of(key: str | None, given: str | None, user_id: str) -> str:
    """The transfer's id: from the Idempotency-Key, the one in the body, or a new one.

    Raises:
        InvalidFields: both are given, or the key is none.
    """
    if key is None:
        return given or new_transfer_id()
    if given is not None:
        # One of the two would be ignored, and its sender would trust it.
        raise _invalid("#/transaction", "id", "cannot be given together with an Idempotency-Key")
    return transfer_id(user_id, idempotency_key(key))


def account_id(given: str, asset: str, caller: Principal) -> str:
    """The account's id, also for `world`.

    Raises:
        Forbidden: the world account is not the caller's to use.
    """
    if given != WORLD:
        return given
    if not caller.may_use_world:
        raise Forbidden("Only an admin or a service may use the world account")
    return world_account_id(asset)


def canonical(metadata: dict[str, Any], pointer: str) -> str:
    """The metadata as canonical JSON text, as the ledger keeps it and compares it.

    Raises:
        InvalidFields: it is too long.
    """
    text = orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS)
    if len(text) > MAX_METADATA_BYTES:
        raise _invalid(pointer, "metadata", f"must not exceed {MAX_METADATA_BYTES} bytes of JSON")
    return text.decode()


def _invalid(pointer: str, field: str, message: str) -> InvalidFields:
    return InvalidFields(violations=(Violation(f"{pointer}/{field}", message),))

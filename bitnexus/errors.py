"""Every error the service can answer with: code, HTTP status and a message that is safe to show.

One family. Actors answer a call by raising one of these (the caller receives the same class back); the HTTP
front turns it into ``application/problem+json``. Anything else that escapes a handler crashes its process.

A *refusal* of the ledger (see :data:`REFUSALS`) is not an exception inside the ledger: it is a durable result,
carried by its code. The front raises :class:`Refused` for it at the edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


class BitNexusError(Exception):
    """Base of all errors that may be shown to a caller; `detail` must hold nothing secret."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retry_after_s: int | None = None

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title


# -- the actor runtime ---------------------------------------------------------------------------------------


class RuntimeFault(BitNexusError):
    """Base of what can go wrong between two actors."""

    code, status, title, retry_after_s = "unavailable", 503, "The service cannot answer just now", 1


class CallTimeout(RuntimeFault):
    """The deadline of a call passed without an answer; whether it took effect is not known."""

    code, title = "timeout", "The answer did not arrive in time"


class NoProcess(RuntimeFault):
    """No process is registered under the called name."""

    code, title = "no_process", "The service is starting or restarting"


class ProcessDown(RuntimeFault):
    """The called process died before it answered; whether the call took effect is not known."""

    code, title = "process_down", "The service is restarting"


class Overloaded(RuntimeFault):
    """A bound was reached; the call was refused before any effect."""

    code, title = "overloaded", "The service is overloaded"


class Quarantined(RuntimeFault):
    """The actor of this request failed too often and is set aside for a while; refused before any effect."""

    code, title, retry_after_s = "quarantined", "Set aside after repeated failures", 30


class Moved(RuntimeFault):
    """Another partition serves this user now, or soon; refused before any effect. Nodes ask again by themselves."""

    code, title = "moved", "The user is served by another process"


class UnknownMessage(BitNexusError):
    """The receiver does not know this message or this version of it."""

    code, status, title = "unknown_message", 500, "Message not understood by its receiver"


class InvalidSettings(BitNexusError):
    """The process was not configured so that it may start; names each variable, never its value."""

    code, title = "invalid_settings", "The settings are not valid"


# -- the service ---------------------------------------------------------------------------------------------


class DatabaseUnavailable(BitNexusError):
    """PostgreSQL cannot be reached; refused before anything was decided."""

    code, status, title, retry_after_s = "database_unavailable", 503, "The database is not available", 1


class BadRequest(BitNexusError):
    """The request cannot be parsed."""

    code, status, title = "bad_request", 400, "Bad request"


class Unauthorized(BitNexusError):
    """No valid credentials."""

    code, status, title = "unauthorized", 401, "Authentication required"


class InvalidCredentials(Unauthorized):
    """Unknown user or wrong password; deliberately the same answer for both."""

    code, title = "invalid_credentials", "Invalid email or password"


class InvalidRefreshToken(Unauthorized):
    """The refresh token is of no use: made up, expired, exchanged before or revoked."""

    code, title = "invalid_refresh_token", "The refresh token is not valid: log in again"


class Forbidden(BitNexusError):
    """Authenticated, but not allowed."""

    code, status, title = "forbidden", 403, "Not allowed"


class NotFound(BitNexusError):
    """No such resource, or it is not the caller's to see."""

    code, status, title = "not_found", 404, "Not found"


class Conflict(BitNexusError):
    """The request contradicts the present state."""

    code, status, title = "conflict", 409, "Conflict"


class UnknownPath(NotFound):
    """The path of an operator's command leads nowhere in the supervision tree."""

    code, title = "unknown_path", "No such path in the tree"


class CommandRefused(Conflict):
    """An operator's command that cannot be done to what it names."""

    code, title = "command_refused", "This command cannot be done"


class AuditUnavailable(BitNexusError):
    """An operator's command could be recorded nowhere, and was not done."""

    code, status, title, retry_after_s = "audit_unavailable", 503, "The command cannot be recorded", 5


class AccountsNotEmpty(Conflict):
    """The user cannot be deleted: money is in their accounts, or on its way; nothing was done."""

    code, title = "accounts_not_empty", "There is money in the user's accounts, or something pending"


class TooManyInFlight(BitNexusError):
    """The user has too many commands in flight; refused before any effect."""

    code, status, title, retry_after_s = "too_many_in_flight", 429, "Too many requests in flight", 1


class TooManyRequests(BitNexusError):
    """The caller asks too often; refused before any effect. `headers` tell about the limit."""

    code, status, title, retry_after_s = "too_many_requests", 429, "Too many requests", 1

    def __init__(
        self, detail: str | None = None, *, retry_after_s: int = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})


class TooManyAccounts(BitNexusError):
    """The user has as many accounts as one user may have; refused before any effect."""

    code, status, title = "too_many_accounts", 422, "You have as many accounts as a user may have"


class CheckpointRefused(BitNexusError):
    """The ledger does not sign its tree: it does not extend the last one that was signed."""

    code, status, title = "checkpoint_refused", 503, "The ledger does not sign its tree"


# -- the HTTP edge -------------------------------------------------------------------------------------------


class BadCursor(BadRequest):
    """The cursor was not made by this service, or for another list."""

    code, title = "bad_cursor", "The cursor does not belong to this list"


class MethodNotAllowed(BitNexusError):
    """The resource exists, but not for this method; `allow` are the methods it has."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"

    def __init__(self, detail: str | None = None, allow: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.allow = allow


class LegacyUnavailable(BitNexusError):
    """The old service, to which this route still goes, cannot be reached, or breaks off; what it did is not known."""

    code, status, title = "legacy_unavailable", 502, "The service behind this route is not available"


class LegacyTimedOut(BitNexusError):
    """The old service, to which this route still goes, is silent for too long; what it did is not known."""

    code, status, title = "legacy_timeout", 504, "The service behind this route did not answer in time"


class RequestTimedOut(BitNexusError):
    """The client did not send its request in time; nothing was done."""

    code, status, title = "request_timeout", 408, "The request did not arrive in time"


class PreconditionFailed(BitNexusError):
    """The resource is not of the version that the request is conditional on; nothing was done."""

    code, status, title = "precondition_failed", 412, "The resource has changed meanwhile"


class PreconditionRequired(BitNexusError):
    """The request could overwrite what its sender has not seen: it must say which version it is about."""

    code, status, title = "precondition_required", 428, "The request must be conditional"


class PayloadTooLarge(BitNexusError):
    """The body is larger than this service reads."""

    code, status, title = "payload_too_large", 413, "The body is too large"


class UnsupportedMediaType(BitNexusError):
    """The body is not JSON."""

    code, status, title = "unsupported_media_type", 415, "The body must be application/json"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: RFC 6901 `pointer` into the body (`#/query/…`, `#/header/…` for the rest) and a safe message."""

    pointer: str
    message: str

    @property
    def field(self) -> str:
        """The last part of the pointer: the name a form shows the message at."""
        return self.pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


class InvalidFields(BitNexusError):
    """The request was understood, but its fields break rules; refused before any effect."""

    code, status, title = "invalid_fields", 422, "Some fields are not valid"

    def __init__(self, detail: str | None = None, violations: tuple[Violation, ...] = ()) -> None:
        super().__init__(detail)
        self.violations = violations

    def by_field(self) -> dict[str, list[str]]:
        """The messages by the names of the fields, as forms want them."""
        fields: dict[str, list[str]] = {}
        for violation in self.violations:
            fields.setdefault(violation.field, []).append(violation.message)
        return fields


@dataclass(frozen=True, slots=True)
class Refusal:
    """How one refusal code of the ledger is shown: HTTP status and a safe sentence."""

    status: int
    message: str


#: Result codes of a transfer that was refused (the names are TigerBeetle's where it has one).
REFUSALS: dict[str, Refusal] = {
    "accounts_must_be_different": Refusal(422, "Debit and credit account must be different."),
    "debit_account_not_found": Refusal(422, "The debit account does not exist."),
    "credit_account_not_found": Refusal(422, "The credit account does not exist."),
    "asset_mismatch": Refusal(422, "Both accounts and the transfer must be of the same asset."),
    "timeout_reserved_for_pending_transfer": Refusal(422, "Only a pending transfer can have a timeout."),
    "pending_id_mismatches_kind": Refusal(
        422, "A pending transfer must be named to post or void it, and for no other kind of transfer."
    ),
    "reverses_id_mismatches_kind": Refusal(
        422, "The transfer to be reversed must be named by a reversal, and by no other kind of transfer."
    ),
    "pending_transfer_not_found": Refusal(422, "The pending transfer does not exist."),
    "pending_transfer_not_pending": Refusal(422, "The transfer to be posted or voided is not a pending one."),
    "pending_transfer_has_different_debit_account_id": Refusal(422, "The pending transfer is from another account."),
    "pending_transfer_has_different_credit_account_id": Refusal(422, "The pending transfer is to another account."),
    "pending_transfer_has_different_asset": Refusal(422, "The pending transfer is of another asset."),
    "pending_transfer_has_different_amount": Refusal(422, "The pending transfer is of another amount."),
    "pending_transfer_already_posted": Refusal(422, "The pending transfer was posted already."),
    "pending_transfer_already_voided": Refusal(422, "The pending transfer was voided already."),
    "pending_transfer_expired": Refusal(422, "The pending transfer's time is over."),
    "exceeds_pending_transfer_amount": Refusal(422, "No more can be posted than the pending transfer reserved."),
    "reversed_transfer_not_found": Refusal(422, "The transfer to be reversed does not exist."),
    "reversed_transfer_not_posted": Refusal(422, "Only a posted transfer can be reversed."),
    "reversed_transfer_has_different_debit_account_id": Refusal(
        422, "A reversal must debit the account that the transfer credited."
    ),
    "reversed_transfer_has_different_credit_account_id": Refusal(
        422, "A reversal must credit the account that the transfer debited."
    ),
    "reversed_transfer_has_different_asset": Refusal(422, "The transfer to be reversed is of another asset."),
    "reversed_transfer_has_different_amount": Refusal(422, "The transfer to be reversed is of another amount."),
    "reversed_transfer_already_reversed": Refusal(422, "The transfer was reversed already."),
    "transfer_limit_exceeded": Refusal(422, "The amount is above what you may transfer at once."),
    "daily_limit_exceeded": Refusal(422, "The amount is above what you may still transfer today."),
    "account_closed": Refusal(422, "One of the accounts is closed."),
    "account_frozen": Refusal(422, "One of the accounts is frozen."),
    "overflow": Refusal(422, "The transfer would exceed the largest balance an account can hold."),
    "exceeds_credits": Refusal(422, "The debit account's balance is too low."),
    "exceeds_debits": Refusal(422, "The credit account cannot take this amount."),
    "exists_with_different_debit_account_id": Refusal(422, "The id was used for a transfer from another account."),
    "exists_with_different_credit_account_id": Refusal(422, "The id was used for a transfer to another account."),
    "exists_with_different_amount": Refusal(422, "The id was used for a transfer of another amount."),
    "exists_with_different_asset": Refusal(422, "The id was used for a transfer of another asset."),
    "exists_with_different_code": Refusal(422, "The id was used for a transfer with another code."),
    "exists_with_different_description": Refusal(422, "The id was used for a transfer with another description."),
    "exists_with_different_metadata": Refusal(422, "The id was used for a transfer with other metadata."),
    "exists_with_different_kind": Refusal(422, "The id was used for another kind of transfer."),
    "exists_with_different_pending_id": Refusal(422, "The id was used for another pending transfer."),
    "exists_with_different_reverses_id": Refusal(422, "The id was used for the reversal of another transfer."),
    "exists_with_different_timeout_s": Refusal(422, "The id was used for a pending transfer with another timeout."),
    "chain_id_taken": Refusal(422, "The id was used for a transfer outside of this chain."),
    "linked_event_failed": Refusal(422, "Another transfer of the chain was refused."),
    # A purchase's own words for exceeds_credits, of the one and the other of its transfers.
    "insufficient_funds": Refusal(422, "The account has too little money for this purchase."),
    "out_of_stock": Refusal(422, "There are not that many units in stock."),
}


class Refused(BitNexusError):
    """The ledger refused a transfer, durably: every repeat of its id gives the same answer."""

    status, title = 422, "Transfer refused"

    def __init__(self, refusal: str, *, replayed: bool = False) -> None:
        super().__init__(REFUSALS[refusal].message)
        self.refusal = refusal
        self.replayed = replayed


class BatchRefused(Refused):
    """The ledger refused an atomic batch, durably: `refusal` is that of the transfer at `index`, `results` are all."""

    title = "Batch refused"

    def __init__(self, refusal: str, index: int, results: list[dict[str, object]], *, replayed: bool = False) -> None:
        super().__init__(refusal, replayed=replayed)
        self.index = index
        self.results = results


def _family(root: type[BitNexusError]) -> dict[str, type[BitNexusError]]:
    # A subclass without a code of its own does not stand for its parent's.
    found = {root.code: root} if "code" in vars(root) else {}
    for child in root.__subclasses__():
        found.update(_family(child))
    return found


def every_error() -> dict[str, type[BitNexusError]]:
    """The errors of this module by their codes; the refusals of the ledger are none of them."""
    return {code: error for code, error in _family(BitNexusError).items() if error.__module__ == __name__}


def by_code(code: str, detail: str) -> BitNexusError:
    """The exception for an error code received from another process."""
    if code in REFUSALS:
        return Refused(code)
    return _family(BitNexusError).get(code, BitNexusError)(detail)

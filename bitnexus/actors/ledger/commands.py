"""The commands of the ledger: who asks, what a well-formed command is, and what the same command is. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from bitnexus import errors
from bitnexus.actors.ledger.accounts import MAX_AMOUNT, MAX_CODE, canonical_uuid, is_asset, world_account_id
from bitnexus.actors.messages import OpenAccount, PostTransfer, Transfer, TransferResult
from bitnexus.actors.runtime.message import Message

#: Bounds of what the ledger keeps of a caller's words, in characters.
MAX_DESCRIPTION: Final = 1_024
MAX_METADATA: Final = 16_384

#: The fields that make a command the same as the one its id was first used for.
_COMPARED: Final = ("debit_account_id", "credit_account_id", "amount", "asset", "code", "description", "metadata")

Command = PostTransfer | OpenAccount


class Caller(Protocol):
    """Who waits for the answer to one command; a process's `Context` is one."""

    @property
    def expired(self) -> bool:
        """Whether the caller no longer waits."""

    def reply(self, message: Message, /) -> None:
        """Answer."""

    def fail(self, error: errors.BitNexusError, /) -> None:
        """Answer with an error."""


class Recorded(NamedTuple):
    """What the ledger holds under a transfer's id: a posted transfer, or a refused one (its balances are 0)."""

    transfer: Transfer
    refusal: str | None


class Item(NamedTuple):
    """A command and who waits for its answer."""

    command: Command
    caller: Caller


def check_syntax(command: Command) -> None:
    """Refuse what no caller of the ledger may send; it precedes everything and burns nothing.

    Raises:
        BadRequest: naming the field.
    """
    if isinstance(command, PostTransfer):
        _check_transfer(command)
    elif not (canonical_uuid(command.account_id) and canonical_uuid(command.owner_id)):
        raise errors.BadRequest("An id is not a canonical UUID.")
    elif command.account_id == world_account_id(command.asset):
        raise errors.BadRequest("The id is that of the asset's world account.")
    if not is_asset(command.asset):
        raise errors.BadRequest("asset must be a code and a scale, as in USD/2.")
    if not 0 <= command.code <= MAX_CODE:
        raise errors.BadRequest(f"code must be 0 … {MAX_CODE}.")


def _check_transfer(command: PostTransfer) -> None:
    if not (
        canonical_uuid(command.transfer_id)
        and canonical_uuid(command.debit_account_id)
        and canonical_uuid(command.credit_account_id)
        and canonical_uuid(command.user_id)
    ):
        raise errors.BadRequest("An id is not a canonical UUID.")
    if not 1 <= command.amount <= MAX_AMOUNT:
        raise errors.BadRequest(f"amount must be 1 … {MAX_AMOUNT}.")
    if command.description:
        _check_text("description", command.description, MAX_DESCRIPTION)
    if command.metadata:
        _check_text("metadata", command.metadata, MAX_METADATA)


def _check_text(name: str, value: str, longest: int) -> None:
    if len(value) > longest:
        raise errors.BadRequest(f"{name} must have at most {longest} characters.")
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise errors.BadRequest(f"{name} must be text without U+0000 and surrogates.")


def difference(recorded: Transfer, command: PostTransfer) -> str | None:
    """The refusal of a command whose id was used with other fields; None if they are the same."""
    for name in _COMPARED:
        if getattr(recorded, name) != getattr(command, name):
            return "exists_with_different_" + name
    return None


def replay(recorded: Recorded, command: PostTransfer) -> TransferResult:
    """The answer to a command whose id the ledger holds."""
    transfer, refusal = recorded
    different = difference(transfer, command)
    if different is not None:
        return TransferResult(command.transfer_id, None, different)
    if refusal is not None:
        return TransferResult(command.transfer_id, None, refusal, replayed=True)
    return TransferResult(command.transfer_id, transfer, None, replayed=True)

"""The commands of the ledger: who asks, what a well-formed command is, and what the same command is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from bitnexus import errors
from bitnexus.actors.ledger import purchases
from bitnexus.actors.ledger.accounts import (
    ALL_FLAGS,
    MAX_AMOUNT,
    MAX_CODE,
    MAX_TOTAL,
    are_canonical_uuids,
    is_asset,
    world_account_id,
)
from bitnexus.actors.ledger.rules import BY_LIMIT, POST, REQUESTED, Request
from bitnexus.actors.messages import (
    ACCOUNT_ACTIONS,
    AnnotateTransfer,
    ChangeAccount,
    CreateAccount,
    OpenAccount,
    PostTransfer,
    PostTransfers,
    Purchase,
    Transfer,
    TransferAnnotated,
    TransferRequest,
    TransferResult,
)
from bitnexus.actors.runtime.message import Message

#: Bounds of what the ledger keeps of a caller's words, in characters.
MAX_DESCRIPTION: Final = 1_024
MAX_METADATA: Final = 16_384
#: Most transfers of one batch.
MAX_BATCH: Final = 8_000
#: Two transfers, and the opening of an account.
EVENTS_OF_PURCHASE: Final = 3
#: Longest timeout of a pending transfer: a signed 32-bit integer of the database, 68 years.
MAX_TIMEOUT_S: Final = 2**31 - 1

#: The fields that make a command the same as the one its id was first used for.
_COMPARED: Final = (
    "kind",
    "pending_id",
    "reverses_id",
    "debit_account_id",
    "credit_account_id",
    "amount",
    "asset",
    "timeout_s",
    "code",
    "description",
    "metadata",
)


class ExpirePending(NamedTuple):
    """The ledger's own command: write the expiry of these pending transfers, if they still are pending."""

    transfer_ids: tuple[str, ...]


Opening = OpenAccount | CreateAccount
Command = PostTransfer | PostTransfers | Purchase | Opening | ChangeAccount | AnnotateTransfer | ExpirePending


class Caller(Protocol):
    """Who waits for the answer to one command; a process's `Context` is one."""

    @property
    def expired(self) -> bool:
        """Whether the caller no longer waits."""

    def reply(self, message: Message, /) -> None:
        """Answer."""

    def fail(self, error: errors.BitNexusError, /) -> None:
        """Answer with an error."""


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """What the ledger holds under a transfer's id: a transfer, or a refused one (its balances are 0).

    Tens of thousands are kept, and none can be part of a cycle: the garbage collector need not walk them.
    """

    transfer: Transfer
    refusal: str | None


class Annotated(NamedTuple):
    """Annotations of earlier blocks: by their ids, and the latest of each transfer by the transfer's."""

    by_id: Mapping[str, TransferAnnotated]
    latest: Mapping[str, TransferAnnotated]


class Item(NamedTuple):
    """A command and who waits for its answer."""

    command: Command
    caller: Caller


def weight(command: Command) -> int:
    """How many events of a block the command can be."""
    if isinstance(command, PostTransfer):
        return 1
    if isinstance(command, PostTransfers):
        return len(command.transfers)
    if isinstance(command, Purchase):
        return EVENTS_OF_PURCHASE
    return len(command.transfer_ids) if isinstance(command, ExpirePending) else 1


def transfers_of(command: Command) -> Sequence[Request]:
    """The transfers that the command asks for."""
    if isinstance(command, PostTransfer):
        return (command,)
    if isinstance(command, Purchase):
        return purchases.transfers_of(command)
    return command.transfers if isinstance(command, PostTransfers) else ()


def accounts_of(command: Command) -> Iterator[str]:
    """The ids of the accounts that the command names."""
    for request in transfers_of(command):
        yield request.debit_account_id
        yield request.credit_account_id
    if isinstance(command, OpenAccount | CreateAccount | ChangeAccount):
        yield command.account_id


def subjects_of(command: Command) -> Iterator[str]:
    """The ids of the transfers to which the command's own ones refer."""
    if isinstance(command, ExpirePending):
        yield from command.transfer_ids
    elif isinstance(command, AnnotateTransfer):
        yield command.transfer_id
    elif isinstance(command, PostTransfers):
        for request in command.transfers:
            if request.pending_id or request.reverses_id:
                yield request.pending_id or request.reverses_id


def check_syntax(command: Command) -> None:
    """Refuse what no caller of the ledger may send; it precedes everything and burns nothing.

    Raises:
        BadRequest: naming the field.
    """
    if isinstance(command, PostTransfer):
        _check_ids(command.user_id)
        _check_transfer(command)
    elif isinstance(command, PostTransfers):
        _check_batch(command)
    elif isinstance(command, Purchase):
        _check_ids(command.purchase_id, command.user_id)
        _check_opening(purchases.opening_of(command))
        for request in purchases.transfers_of(command):
            _check_transfer(request)
    elif isinstance(command, ChangeAccount):
        _check_ids(command.account_id, command.user_id)
        if command.action not in ACCOUNT_ACTIONS:
            raise errors.BadRequest(f"action must be one of {', '.join(ACCOUNT_ACTIONS)}.")
    elif isinstance(command, AnnotateTransfer):
        _check_ids(command.user_id, command.annotation_id, command.transfer_id, command.debit_account_id)
        _check_text("description", command.description, MAX_DESCRIPTION)
        _check_text("metadata", command.metadata, MAX_METADATA)
    elif isinstance(command, ExpirePending):
        _check_ids(*command.transfer_ids)
    else:
        _check_opening(command)


def _check_opening(command: Opening) -> None:
    if isinstance(command, OpenAccount) or command.owner_id:
        _check_ids(command.owner_id)
    _check_ids(command.account_id)
    if command.account_id == world_account_id(command.asset) and not _is_unbounded(command):
        raise errors.BadRequest("The id is that of the asset's world account.")
    _check_asset_and_code(command)
    if isinstance(command, CreateAccount):
        if not 0 <= command.flags <= ALL_FLAGS:
            raise errors.BadRequest(f"flags must be 0 … {ALL_FLAGS}.")
        if not 0 <= command.credit_limit <= MAX_TOTAL:
            raise errors.BadRequest(f"credit_limit must be 0 … {MAX_TOTAL}.")


def _is_unbounded(command: Opening) -> bool:
    """Whether it opens an account as the ledger opens world accounts: of nobody, without flags."""
    if not isinstance(command, CreateAccount):
        return False
    return (command.owner_id, command.code, command.flags, command.credit_limit) == ("", 0, 0, 0)


def _check_batch(batch: PostTransfers) -> None:
    if not 1 <= len(batch.transfers) <= MAX_BATCH:
        raise errors.BadRequest(f"A batch must have 1 … {MAX_BATCH} transfers.")
    if batch.transfers[-1].linked:
        raise errors.BadRequest("The last transfer of a batch cannot be linked: there is no next one.")
    _check_ids(batch.user_id)
    _check_chains(batch.transfers)
    for request in batch.transfers if not _are_sound(batch.transfers) else filter(_says_more, batch.transfers):
        _check_transfer(request)
        if request.kind != POST or request.timeout_s or request.pending_id or request.reverses_id:
            _check_kind(request)


def _check_chains(transfers: Sequence[TransferRequest]) -> None:
    chain: set[str] = set()
    for request in transfers:
        if request.linked or chain:
            if request.transfer_id in chain:
                raise errors.BadRequest("An id stands twice in one chain of linked transfers.")
            chain.add(request.transfer_id)
            if not request.linked:
                chain.clear()


def _are_sound(transfers: Sequence[TransferRequest]) -> bool:
    """Whether what every transfer must say is well-formed, by columns: a third of what it takes one by one."""
    ids = [request.transfer_id for request in transfers]
    ids += [request.debit_account_id for request in transfers]
    ids += [request.credit_account_id for request in transfers]
    amounts = [request.amount for request in transfers]
    return (
        min(amounts) >= 1
        and max(amounts) <= MAX_AMOUNT
        and all(map(is_asset, {request.asset for request in transfers}))
        and are_canonical_uuids(ids)
    )


def _says_more(request: TransferRequest) -> bool:
    """Whether it says anything that it need not."""
    return bool(
        request.description
        or request.metadata
        or request.code
        or request.refuse
        or request.kind != POST
        or request.timeout_s
        or request.pending_id
        or request.reverses_id
    )


def _check_kind(request: TransferRequest) -> None:
    if request.kind not in REQUESTED:
        raise errors.BadRequest(f"kind must be one of {', '.join(sorted(REQUESTED))}.")
    if not 0 <= request.timeout_s <= MAX_TIMEOUT_S:
        raise errors.BadRequest(f"timeout_s must be 0 … {MAX_TIMEOUT_S}.")
    if request.pending_id and request.reverses_id:
        raise errors.BadRequest("A transfer can refer to one other transfer only.")
    _check_ids(*filter(None, (request.pending_id, request.reverses_id)))


def _check_transfer(request: Request) -> None:
    _check_ids(request.transfer_id, request.debit_account_id, request.credit_account_id)
    if not 1 <= request.amount <= MAX_AMOUNT:
        raise errors.BadRequest(f"amount must be 1 … {MAX_AMOUNT}.")
    if request.description:
        _check_text("description", request.description, MAX_DESCRIPTION)
    if request.metadata:
        _check_text("metadata", request.metadata, MAX_METADATA)
    if request.refuse and request.refuse not in BY_LIMIT:
        raise errors.BadRequest("refuse must be the refusal by a limit.")
    _check_asset_and_code(request)


def _check_asset_and_code(command: Request | Opening) -> None:
    if not is_asset(command.asset):
        raise errors.BadRequest("asset must be a code and a scale, as in USD/2.")
    if not 0 <= command.code <= MAX_CODE:
        raise errors.BadRequest(f"code must be 0 … {MAX_CODE}.")


def _check_ids(*ids: str) -> None:
    if not are_canonical_uuids(ids):
        raise errors.BadRequest("An id is not a canonical UUID.")


def _check_text(name: str, value: str, longest: int) -> None:
    if len(value) > longest:
        raise errors.BadRequest(f"{name} must have at most {longest} characters.")
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise errors.BadRequest(f"{name} must be text without U+0000 and surrogates.")


def difference(recorded: Transfer, command: Request) -> str | None:
    """The refusal of a command whose id was used with other fields; None if they are the same."""
    for name in _COMPARED:
        if getattr(recorded, name) != getattr(command, name):
            return "exists_with_different_" + name
    return None


def replay(recorded: Recorded, command: Request) -> TransferResult:
    """The answer to a command whose id the ledger holds."""
    transfer, refusal = recorded.transfer, recorded.refusal
    different = difference(transfer, command)
    if different is not None:
        return TransferResult(command.transfer_id, None, different)
    if refusal is not None:
        return TransferResult(command.transfer_id, None, refusal, replayed=True)
    return TransferResult(command.transfer_id, transfer, None, replayed=True)

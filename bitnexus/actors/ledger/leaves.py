"""The leaf of each event from its stored fields: what the ledger appends, and what a verifier recomputes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TypeAlias

from bitnexus.actors.ledger.accounts import Account, all_uuid_bytes, uuid_bytes
from bitnexus.actors.ledger.log import (
    KIND_TRANSFER,
    LEAF_VERSION,
    account_leaf,
    annotation_leaf,
    change_leaf,
    other_kind,
    pack_hashed_transfer,
    private_hash,
    private_hashes,
    text,
    transfer_leaf,
)
from bitnexus.actors.messages import AccountChanged, Transfer, TransferAnnotated

#: A transfer of kind "post" that was carried out, its debit and its credit account.
Posted: TypeAlias = tuple[Transfer, Account, Account]


def hashes_of_posts(posted: Sequence[Posted], salts: Sequence[bytes]) -> list[bytes]:
    """The leaf hashes of these transfers: `leaf_hash` of each `leaf_of_transfer`, in one step."""
    texts = [(transfer.description, transfer.metadata) for transfer, _, _ in posted]
    users = all_uuid_bytes([transfer.user_id for transfer, _, _ in posted])
    privates = private_hashes(salts, users, texts if any(map(any, texts)) else ())
    ids = all_uuid_bytes([transfer.transfer_id for transfer, _, _ in posted])
    return [
        sha256(
            pack_hashed_transfer(
                LEAF_VERSION,
                KIND_TRANSFER,
                transfer.seq,
                transfer.block,
                transfer.time_us,
                id_,
                debit.raw,
                credit.raw,
                transfer.amount,
                transfer.code,
                transfer.debit_balance,
                transfer.credit_balance,
                private,
            )
            + debit.asset_text
        ).digest()
        for (transfer, debit, credit), id_, private in zip(posted, ids, privates, strict=True)
    ]


def leaf_of_account(account: Account) -> bytes:
    """The leaf of the event that opened the account."""
    return account_leaf(
        seq=account.opened_seq,
        block=account.opened_block,
        time_us=account.opened_us,
        account=account.raw,
        flags=account.flags,
        code=account.code,
        private=private_hash(account.salt, uuid_bytes(account.owner_id)),
        asset=account.asset,
        credit_limit=account.credit_limit,
    )


def leaf_of_change(event: AccountChanged, salt: bytes) -> bytes:
    """The leaf of the event that froze, unfroze or closed an account."""
    return change_leaf(
        seq=event.seq,
        block=event.block,
        time_us=event.time_us,
        account=uuid_bytes(event.account_id),
        action=event.action,
        private=private_hash(salt, uuid_bytes(event.user_id)),
    )


def leaf_of_annotation(event: TransferAnnotated, salt: bytes) -> bytes:
    """The leaf of the event that gave a transfer other words."""
    return annotation_leaf(
        seq=event.seq,
        block=event.block,
        time_us=event.time_us,
        annotation=uuid_bytes(event.annotation_id),
        transfer=uuid_bytes(event.transfer_id),
        private=private_hash(salt, uuid_bytes(event.user_id), event.description, event.metadata),
    )


def leaf_of_transfer(transfer: Transfer, refusal: str | None, salt: bytes, asset_text: bytes | None = None) -> bytes:
    """The leaf of a transfer, posted or refused. `asset_text`: the asset as a `log.text`, if there is one at hand."""
    other = None
    if transfer.kind != "post" or transfer.pending_id or transfer.reverses_id or transfer.timeout_s:
        pending, reverses = uuid_bytes(transfer.pending_id), uuid_bytes(transfer.reverses_id)
        other = other_kind(transfer.kind, transfer.timeout_s, pending=pending, reverses=reverses)
    return transfer_leaf(
        transfer.seq,
        transfer.block,
        transfer.time_us,
        uuid_bytes(transfer.transfer_id),
        uuid_bytes(transfer.debit_account_id),
        uuid_bytes(transfer.credit_account_id),
        transfer.amount,
        transfer.code,
        transfer.debit_balance,
        transfer.credit_balance,
        private_hash(salt, uuid_bytes(transfer.user_id), transfer.description, transfer.metadata),
        asset_text or text(transfer.asset),
        refusal,
        other,
    )

"""From commands to a block: idempotency, the book's decisions, the leaves, the answers. Pure.

A block is decided on what is known: the ids of recent transfers in memory, and ids looked up in the database. An id
about which nothing is known is taken for new. That is a guess, and the database is its judge: ids are unique there, so
a block with a wrong guess cannot be written; the writer then looks its ids up and decides the same commands again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bitnexus import errors
from bitnexus.actors.ledger.accounts import DEBITS_MUST_NOT_EXCEED_CREDITS, uuid_bytes
from bitnexus.actors.ledger.book import TIMELESS, Account, Book
from bitnexus.actors.ledger.commands import Item, Recorded, replay
from bitnexus.actors.ledger.log import (
    NOBODY,
    SALT_BYTES,
    Head,
    account_leaf,
    leaf_hash,
    private_hash,
    text,
    transfer_leaf,
)
from bitnexus.actors.messages import AccountOpened, BlockCommitted, OpenAccount, PostTransfer, Transfer, TransferResult
from bitnexus.actors.runtime.message import Message


@dataclass(slots=True)
class Block:
    """A decided block: what is to be written, and the answers that are true once it is."""

    before: Head
    items: Sequence[Item]
    head: Head
    answers: list[Message | errors.BitNexusError] = field(default_factory=list)
    events: list[Transfer | AccountOpened | None] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    refusals: list[str | None] = field(default_factory=list)
    salts: list[bytes] = field(default_factory=list)
    opened: list[Account] = field(default_factory=list)
    totals: list[tuple[str, int, int]] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    recorded: dict[str, Recorded] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    guessed: set[str] = field(default_factory=set)

    def committed(self) -> BlockCommitted:
        """The event that tells of this block."""
        sizes = (self.before.tree.size, self.head.tree.size)
        return BlockCommitted(self.head.height, *sizes, self.events, self.owners)


def decide(
    book: Book,
    head: Head,
    items: Sequence[Item],
    *,
    recent: Mapping[str, Recorded],
    looked_up: Mapping[str, Recorded | None],
    now_us: int,
    entropy: bytes,
) -> Block:
    """Decide commands, in their order, into the block after `head`; the book has carried it out, not yet for good.

    Every account that they name must have been loaded, if it exists. `recent` and `looked_up` tell what ids hold (None:
    looked up, not there). `entropy` is 16 random bytes per command. The block's time is `now_us`, or later: after the
    last block's.

    In `guessed` of the block stand ids which were taken for new without anything in the block that would prove
    it: while there are any, its answers must not be given.

    Raises:
        InvariantBroken: the result contradicts double entry.
    """
    time_us = max(now_us, head.time_us + 1)
    block = Block(head, items, head)
    moved: dict[str, int] = {}
    for index, (command, _) in enumerate(items):
        salt = entropy[SALT_BYTES * index : SALT_BYTES * (index + 1)]
        if isinstance(command, PostTransfer):
            transfer_id = command.transfer_id
            recorded = block.recorded.get(transfer_id) or recent.get(transfer_id) or looked_up.get(transfer_id)
            if recorded is not None:
                block.answers.append(replay(recorded, command))
                continue
            refusal = book.post(command.debit_account_id, command.credit_account_id, command.amount, command.asset)
            if refusal is None:
                moved[command.asset] = moved.get(command.asset, 0) + command.amount
            elif refusal in TIMELESS:
                if transfer_id not in looked_up:
                    block.guessed.add(transfer_id)
                block.answers.append(TransferResult(transfer_id, None, refusal))
                continue
            _record(block, book, command, refusal, salt=salt, time_us=time_us)
        else:
            block.answers.append(_open(block, book, command, time_us, salt))
    book.check(moved)
    block.guessed.difference_update(block.recorded)
    block.totals = [(account.id, account.debits_posted, account.credits_posted) for account in book.changed()]
    if block.leaves:
        block.head = head.extend(block.leaves, time_us)
    return block


def _record(block: Block, book: Book, command: PostTransfer, refusal: str | None, *, time_us: int, salt: bytes) -> None:
    """Append a decided transfer to the block."""
    seq = block.before.tree.size + len(block.leaves)
    height = block.before.height + 1
    transfer_id, debit_id, credit_id = command.transfer_id, command.debit_account_id, command.credit_account_id
    debit, credit = book.get(debit_id), book.get(credit_id)
    if refusal is not None or debit is None or credit is None:
        debit_raw, credit_raw, debit_balance, credit_balance = uuid_bytes(debit_id), uuid_bytes(credit_id), 0, 0
        asset_text = text(command.asset)
    else:
        debit_raw, credit_raw, asset_text = debit.raw, credit.raw, debit.asset_text
        debit_balance = debit.credits_posted - debit.debits_posted
        credit_balance = credit.credits_posted - credit.debits_posted
        if debit.owner_id:
            block.owners[debit_id] = debit.owner_id
        if credit.owner_id:
            block.owners[credit_id] = credit.owner_id
    transfer = Transfer(
        transfer_id,
        debit_id,
        credit_id,
        command.amount,
        command.asset,
        command.code,
        command.description,
        command.metadata,
        command.user_id,
        seq,
        height,
        time_us,
        debit_balance,
        credit_balance,
    )
    leaf = transfer_leaf(
        seq,
        height,
        time_us,
        uuid_bytes(transfer_id),
        debit_raw,
        credit_raw,
        command.amount,
        command.code,
        debit_balance,
        credit_balance,
        private_hash(salt, uuid_bytes(command.user_id), command.description, command.metadata),
        asset_text,
        refusal,
    )
    block.leaves.append(leaf_hash(leaf))
    block.transfers.append(transfer)
    block.refusals.append(refusal)
    block.salts.append(salt)
    block.recorded[transfer_id] = Recorded(transfer, refusal)
    block.events.append(transfer if refusal is None else None)
    block.answers.append(TransferResult(transfer_id, transfer if refusal is None else None, refusal))


def _open(
    block: Block, book: Book, command: OpenAccount, time_us: int, salt: bytes
) -> AccountOpened | errors.BitNexusError:
    """Open the account, or find it open already."""
    account = book.get(command.account_id)
    if account is not None:
        if (account.owner_id, account.asset, account.code) != (command.owner_id, command.asset, command.code):
            return errors.Conflict("The account id is in use for another account.")
        return opened(account)
    seq = block.before.tree.size + len(block.leaves)
    account = Account(
        command.account_id,
        owner_id=command.owner_id,
        asset=command.asset,
        code=command.code,
        flags=DEBITS_MUST_NOT_EXCEED_CREDITS if command.owner_id else 0,
        opened_seq=seq,
        opened_block=block.before.height + 1,
        opened_us=time_us,
        salt=salt,
    )
    book.open(account)
    block.leaves.append(leaf_hash(leaf_of_account(account)))
    block.opened.append(account)
    if account.owner_id:
        block.owners[account.id] = account.owner_id
    event = opened(account)
    block.events.append(event)
    return event


def opened(account: Account) -> AccountOpened:
    """The event that opened the account."""
    fields = (account.owner_id, account.asset, account.code, account.opened_seq, account.opened_block)
    return AccountOpened(account.id, *fields, account.opened_us)


def leaf_of_account(account: Account) -> bytes:
    """The leaf of the event that opened the account."""
    owner = uuid_bytes(account.owner_id) if account.owner_id else NOBODY
    return account_leaf(
        seq=account.opened_seq,
        block=account.opened_block,
        time_us=account.opened_us,
        account=account.raw,
        flags=account.flags,
        code=account.code,
        private=private_hash(account.salt, owner),
        asset=account.asset,
    )


def leaf_of_transfer(recorded: Recorded, salt: bytes) -> bytes:
    """The leaf of a transfer, from its stored fields: what a verifier recomputes."""
    transfer, refusal = recorded
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
        text(transfer.asset),
        refusal,
    )

"""Accounts are opened, frozen, unfrozen and closed: events of the log, each of them once. Pure."""

from __future__ import annotations

from bitnexus import errors
from bitnexus.actors.ledger.accounts import (
    CLOSED,
    DEBITS_MUST_NOT_EXCEED_CREDITS,
    FROZEN,
    OPEN,
    STATUSES,
    Account,
)
from bitnexus.actors.ledger.block import Block
from bitnexus.actors.ledger.book import Book
from bitnexus.actors.ledger.commands import Opening
from bitnexus.actors.ledger.leaves import leaf_of_account, leaf_of_change
from bitnexus.actors.ledger.log import leaf_hash
from bitnexus.actors.messages import AccountChanged, AccountOpened, AccountStatus, ChangeAccount, CreateAccount

_BECOMES = {"freeze": FROZEN, "unfreeze": OPEN, "close": CLOSED}


def open_account(book: Book, block: Block, command: Opening, salt: bytes) -> AccountOpened | errors.BitNexusError:
    """Open the account, or find it open already."""
    if isinstance(command, CreateAccount):
        flags, credit_limit = command.flags, command.credit_limit
    else:
        flags, credit_limit = DEBITS_MUST_NOT_EXCEED_CREDITS if command.owner_id else 0, 0
    account = book.get(command.account_id)
    if account is not None:
        same = (command.owner_id, command.asset, command.code, flags, credit_limit)
        if (account.owner_id, account.asset, account.code, account.flags, account.credit_limit) != same:
            return errors.Conflict("The account id is in use for another account.")
        return opened(account)
    seq, height, time_us = block.place()
    account = Account(
        command.account_id,
        owner_id=command.owner_id,
        asset=command.asset,
        code=command.code,
        flags=flags,
        credit_limit=credit_limit,
        opened_seq=seq,
        opened_block=height,
        opened_us=time_us,
        salt=salt,
    )
    book.open(account)
    block.plain = block.plain and not credit_limit
    block.leaves.append(leaf_hash(leaf_of_account(account)))
    block.opened.append(account)
    block.tell_owners(account)
    event = opened(account)
    block.events.append(event)
    return event


def opened(account: Account) -> AccountOpened:
    """The event that opened the account."""
    fields = (account.owner_id, account.asset, account.code, account.opened_seq, account.opened_block)
    return AccountOpened(account.id, *fields, account.opened_us)


def change(book: Book, block: Block, command: ChangeAccount, salt: bytes) -> AccountStatus | errors.BitNexusError:
    """Freeze, unfreeze or close the account, or find it so already."""
    account = book.get(command.account_id)
    if account is None:
        return errors.NotFound()
    state = _BECOMES[command.action]
    if account.state == state:
        return AccountStatus(account.id, STATUSES[state])
    if account.state == CLOSED:
        return errors.Conflict("The account is closed, for good.")
    if state == CLOSED and (account.balance or account.debits_pending or account.credits_pending):
        return errors.Conflict("The account has a balance or pending transfers: it cannot be closed.")
    event = AccountChanged(account.id, command.action, command.user_id, *block.place())
    book.set_state(account, state)
    block.plain = False
    block.leaves.append(leaf_hash(leaf_of_change(event, salt)))
    block.changes.append(event)
    block.change_salts.append(salt)
    block.tell_owners(account)
    block.events.append(event)
    return AccountStatus(account.id, STATUSES[state], event.seq)

"""What the writer has in memory before it decides a block."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bitnexus import errors
from bitnexus.actors.ledger.blocks import NOTHING_ANNOTATED
from bitnexus.actors.ledger.book import Book
from bitnexus.actors.ledger.commands import Annotated, Command, ExpirePending, Item, accounts_of, subjects_of
from bitnexus.actors.ledger.stored import account_of, subject_of
from bitnexus.actors.messages import AnnotateTransfer, PostTransfer, PostTransfers
from bitnexus.actors.runtime.message import Message
from bitnexus.storage.ledger_writer import LedgerConnection


class Sweeper:
    """The caller of expiries: it waits for nothing, they are in the log."""

    expired = False

    def reply(self, message: Message, /) -> None:
        """Nothing."""

    def fail(self, error: errors.BitNexusError, /) -> None:
        """Nothing: they will be tried again."""


def needs_nothing(book: Book, items: Collection[Item]) -> bool:
    """Whether the commands are transfers that refer to no other, and all their accounts are in the book already."""
    return all(
        isinstance(command, PostTransfer | PostTransfers)
        and all(map(book.__contains__, accounts_of(command)))
        and not any(subjects_of(command))
        for command, _ in items
    )


async def load(db: LedgerConnection, book: Book, items: Collection[Item]) -> Annotated:
    """Have in the book what the commands name: earlier transfers, then accounts; a query each, if any is missing.

    Gives the annotations under the ids, and of the transfers, that annotations are asked for.

    Raises:
        DatabaseUnavailable: it cannot be reached now.
    """
    accounts: set[str] = set()
    for command, _ in items:
        if isinstance(command, PostTransfer):
            if command.debit_account_id not in book:
                accounts.add(command.debit_account_id)
            if command.credit_account_id not in book:
                accounts.add(command.credit_account_id)
        else:
            accounts.update(id_ for id_ in accounts_of(command) if id_ not in book)
    referring = [command for command, _ in items if type(command) is not PostTransfer]
    if referring:
        await _load_subjects(db, book, referring)
        accounts.update(id_ for id_ in _accounts_of_expiring(book, referring) if id_ not in book)
    if accounts:
        for row in await db.accounts(accounts):
            book.load(account_of(row))
    annotating = [command for command in referring if isinstance(command, AnnotateTransfer)]
    if not annotating:
        return NOTHING_ANNOTATED
    by_id = await db.annotations(command.annotation_id for command in annotating)
    return Annotated(by_id, await db.latest_annotations(command.transfer_id for command in annotating))


async def _load_subjects(db: LedgerConnection, book: Book, commands: Collection[Command]) -> None:
    missing = {id_ for command in commands for id_ in subjects_of(command) if book.subject(id_) is None}
    if missing:
        for row in await db.subjects(missing):
            book.load_subject(subject_of(row))


def _accounts_of_expiring(book: Book, commands: Collection[Command]) -> Iterable[str]:
    for command in commands:
        if isinstance(command, ExpirePending):
            for subject in filter(None, map(book.subject, command.transfer_ids)):
                yield subject.transfer.debit_account_id
                yield subject.transfer.credit_account_id

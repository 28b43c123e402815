"""From commands to a block: idempotency, the rules' decisions, the leaves, the answers. Pure.

A block is decided on what is known: the ids of recent transfers in memory, and ids looked up in the database. An id
about which nothing is known is taken for new. That is a guess, and the database is its judge: ids are unique there, so
a block with a wrong guess cannot be written; the writer then looks its ids up and decides the same commands again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bitnexus.actors.ledger import account_events, transfer_events
from bitnexus.actors.ledger.block import Block
from bitnexus.actors.ledger.book import Book
from bitnexus.actors.ledger.commands import Annotated, Command, ExpirePending, Item, Recorded
from bitnexus.actors.ledger.log import Head
from bitnexus.actors.ledger.purchases import opening_of, transfers_of
from bitnexus.actors.ledger.recent import Recent
from bitnexus.actors.ledger.rules import Request
from bitnexus.actors.ledger.transfer_decisions import TransferDecisions
from bitnexus.actors.messages import (
    AnnotateTransfer,
    ChangeAccount,
    CreateAccount,
    OpenAccount,
    PostTransfer,
    PostTransfers,
    Purchase,
    TransferAnnotated,
    TransferReceipts,
    TransferResult,
    TransferResults,
)
from bitnexus.errors import BitNexusError

NOTHING_ANNOTATED: Final = Annotated({}, {})


def decide(
    book: Book,
    head: Head,
    items: Sequence[Item],
    *,
    recent: Mapping[str, Recorded] | Recent,
    looked_up: Mapping[str, Recorded | None],
    now_us: int,
    entropy: bytes,
    annotated: Annotated = NOTHING_ANNOTATED,
) -> Block:
    """Decide commands, in their order, into the block after `head`; the book has carried it out, not yet for good.

    Every account and every earlier transfer that they name must have been loaded, if it exists, and the accounts of
    those that are to expire. `recent` and `looked_up` tell what ids hold (None: looked up, not there); `annotated` has
    the annotations under the ids, and of the transfers, that annotations are asked for. `entropy` is 16 random bytes
    per command, and per transfer of a batch (see `commands.weight`). The block's time is `now_us`, or later: after the
    last block's.

    In `guessed` of the block stand ids which were taken for new without anything in the block that would prove
    it: while there are any, its answers must not be given.

    Raises:
        InvariantBroken: the result contradicts double entry.
    """
    time_us = max(now_us, head.time_us + 1)
    return _Decision(book, head, items, recent, looked_up, time_us, entropy, annotated).run()


class _Decision(TransferDecisions):
    """One block in the making."""

    def run(self) -> Block:
        single: list[PostTransfer] = []
        for command, _ in self.block.items:
            if isinstance(command, PostTransfer):
                single.append(command)
                continue
            self.decide_posts(single)
            self.decide(command)
        self.decide_posts(single)
        book, block = self.book, self.block
        book.check(self.moved, self.reserved)
        block.guessed.difference_update(block.recorded)
        changed = book.changed()
        block.totals = [(account.id, *account.totals) for account in changed]
        for account in changed:
            block.tell_owners(account)
        if block.leaves:
            block.head = block.before.extend(block.leaves, self.time_us, block.nodes)
        return block

    def decide_posts(self, commands: list[PostTransfer]) -> None:
        """These commands, which came in a row; the list is emptied."""
        if commands:
            self.block.answers += self.posts(commands, [command.user_id for command in commands])
            commands.clear()

    def decide(self, command: Command) -> None:
        """Any other command."""
        book, block, answers = self.book, self.block, self.block.answers
        if isinstance(command, PostTransfers):
            results = self.batch(command)
            answers.append(_receipts(results) if command.brief else TransferResults(results))
        elif isinstance(command, ExpirePending):
            for id_ in command.transfer_ids:
                self.expire(id_)
            answers.append(TransferResults([]))
        elif isinstance(command, AnnotateTransfer):
            answers.append(self.annotate(command))
        elif isinstance(command, ChangeAccount):
            answers.append(account_events.change(book, block, command, self.salt()))
        elif isinstance(command, Purchase):
            answers.append(TransferResults(self.purchase(command)))
        elif isinstance(command, OpenAccount | CreateAccount):
            answers.append(account_events.open_account(book, block, command, self.salt()))

    def batch(self, batch: PostTransfers) -> list[TransferResult]:
        if not any([request.linked for request in batch.transfers]):  # noqa: C419 - a list is faster
            return self.posts(batch.transfers, [batch.user_id] * len(batch.transfers))
        results: list[TransferResult] = []
        chain: list[Request] = []
        for request in batch.transfers:
            if request.linked or chain:
                chain.append(request)
                if not request.linked:
                    results += self.chain(chain, batch.user_id)
                    chain = []
            else:
                results += self.posts([request], [batch.user_id])
        return results

    def purchase(self, purchase: Purchase) -> list[TransferResult]:
        opening = (opening_of(purchase), self.salt())
        return self.chain(list(transfers_of(purchase)), purchase.user_id, opening)

    def annotate(self, command: AnnotateTransfer) -> TransferAnnotated | BitNexusError:
        """Give a transfer other words."""
        subject = self.subject(command.transfer_id)
        return transfer_events.annotate(self.block, command, subject, self.annotated, self.salt())


def _receipts(results: list[TransferResult]) -> TransferReceipts:
    """The results by columns."""
    transfers = [result.transfer for result in results]
    return TransferReceipts(
        [0 if transfer is None else transfer.seq for transfer in transfers],
        [0 if transfer is None else transfer.block for transfer in transfers],
        {at: result.refusal for at, result in enumerate(results) if result.refusal is not None},
        [at for at, result in enumerate(results) if result.replayed],
    )

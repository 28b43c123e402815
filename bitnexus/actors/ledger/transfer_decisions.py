"""The transfers of a block in the making: what is known of an id, what the rules decide, the leaf, the result. Pure.

**Chains.** A chain of linked transfers succeeds or fails together: the first one that is refused keeps its code, the
others get ``linked_event_failed``, and all its ids that were free are burned. An id that was used before, by anything
but this chain, cannot succeed with it: ``chain_id_taken``. A purchase is a chain of two, and an account may be opened
with it: if the chain fails, that was never opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from bitnexus.actors.ledger import account_events
from bitnexus.actors.ledger.block import Block
from bitnexus.actors.ledger.book import Book, InvariantBroken, Subject
from bitnexus.actors.ledger.commands import Annotated, Item, Recorded, replay
from bitnexus.actors.ledger.leaves import Posted, hashes_of_posts, leaf_of_transfer
from bitnexus.actors.ledger.log import SALT_BYTES, Head, leaf_hash
from bitnexus.actors.ledger.recent import Recent
from bitnexus.actors.ledger.rules import (
    BURNING,
    MOVED,
    PENDING,
    POST,
    Request,
    exceeded_limit,
    expire,
    expiry,
    post,
)
from bitnexus.actors.messages import OpenAccount, PostTransfer, Transfer, TransferResult

#: An account that a chain needs, and the salt of its leaf.
Opening: TypeAlias = tuple[OpenAccount, bytes]


class TransferDecisions:
    """Decides transfers into one block."""

    def __init__(  # noqa: PLR0917 - the arguments of `blocks.decide`
        self,
        book: Book,
        head: Head,
        items: Sequence[Item],
        recent: Mapping[str, Recorded] | Recent,
        looked_up: Mapping[str, Recorded | None],
        time_us: int,
        entropy: bytes,
        annotated: Annotated,
    ) -> None:
        self.book = book
        self.block = Block(head, items, head, time_us)
        self.recent = recent
        self.looked_up = looked_up
        self.time_us = time_us
        self.entropy = entropy
        self.annotated = annotated
        self.drawn = 0
        self.moved: dict[str, int] = {}
        self.reserved: dict[str, int] = {}

    def salt(self) -> bytes:
        """The next event's."""
        begin = self.drawn
        self.drawn += SALT_BYTES
        return self.entropy[begin : self.drawn]

    def known(self, transfer_id: str) -> Recorded | None:
        """What the id holds."""
        return self.block.recorded.get(transfer_id) or self.recent.get(transfer_id) or self.looked_up.get(transfer_id)

    def subject(self, transfer_id: str) -> Subject | None:
        """The transfer that another one refers to."""
        subject = self.book.subject(transfer_id)
        if subject is None:
            recorded = self.block.recorded.get(transfer_id)
            if recorded is not None and recorded.refusal is None:
                subject = self.book.add_subject(recorded.transfer)
        return subject

    # -- each alone ---------------------------------------------------------------------------------------------------

    def posts(self, requests: Sequence[Request], user_ids: Sequence[str]) -> list[TransferResult]:
        """Decide transfers, each alone, for its user.

        Nearly all are of kind "post", new, and allowed: these are carried out here, any other one by `single`.
        """
        book, recorded, moved = self.book, self.block.recorded, self.moved
        account_of, recent, looked_up = book.get, self.recent.get, self.looked_up
        seq, height, time_us = self.block.place()
        results: list[TransferResult] = []
        posted: list[Posted] = []
        for request, user_id in zip(requests, user_ids, strict=True):
            transfer_id, amount, asset = request.transfer_id, request.amount, request.asset
            debit, credit = account_of(request.debit_account_id), account_of(request.credit_account_id)
            if (
                debit is None
                or credit is None
                or debit is credit
                or debit.state
                or credit.state
                or debit.asset != asset
                or credit.asset != asset
                or request.kind != POST
                or request.refuse
                or request.pending_id
                or request.reverses_id
                or request.timeout_s
                or transfer_id in recorded
                or recent(transfer_id) is not None
                or looked_up.get(transfer_id) is not None
                or exceeded_limit(debit, credit, amount)
            ):
                self.record_posts(posted)
                posted.clear()
                results.append(self.single(request, user_id))
                seq = self.block.place()[0]
                continue
            book.post(debit, credit, amount)
            moved[asset] = moved.get(asset, 0) + amount
            transfer = Transfer(
                transfer_id,
                debit.id,
                credit.id,
                amount,
                asset,
                request.code,
                request.description,
                request.metadata,
                user_id,
                seq,
                height,
                time_us,
                debit.credits_posted - debit.debits_posted,
                credit.credits_posted - credit.debits_posted,
            )
            recorded[transfer_id] = Recorded(transfer, None)
            posted.append((transfer, debit, credit))
            results.append(TransferResult(transfer_id, transfer))
            seq += 1
        self.record_posts(posted)
        return results

    def single(self, request: Request, user_id: str) -> TransferResult:
        """Decide a transfer alone, whatever it asks for."""
        salt = self.salt()
        transfer_id = request.transfer_id
        recorded = self.known(transfer_id)
        if recorded is not None:
            return replay(recorded, request)
        refusal = self.carry_out(request)
        if refusal is not None and refusal not in BURNING:
            if transfer_id not in self.looked_up:
                self.block.guessed.add(transfer_id)
            return TransferResult(transfer_id, None, refusal)
        return self.record(request, user_id, salt, refusal)

    # -- together ---------------------------------------------------------------------------------------------------

    def chain(self, requests: list[Request], user_id: str, opening: Opening | None = None) -> list[TransferResult]:
        """Decide linked transfers; if they succeed, an account is opened before them unless it is there."""
        salts = [self.salt() for _ in requests]
        known = [self.known(request.transfer_id) for request in requests]
        refused = {recorded.refusal is not None for recorded in known if recorded is not None}
        if None not in known and len(refused) == 1:
            return [replay(recorded, request) for recorded, request in zip(known, requests, strict=True) if recorded]
        if refused:
            refusals = [
                None if recorded is None else _taken(recorded, request)
                for recorded, request in zip(known, requests, strict=True)
            ]
        else:
            results, culprit = self.attempt(requests, user_id, salts, opening)
            if culprit is None:
                return results
            refusals = [culprit if at == len(results) else None for at in range(len(requests))]
        return [
            TransferResult(request.transfer_id, None, refusal, replayed=recorded.refusal == refusal)
            if recorded is not None
            else self.record(request, user_id, salt, refusal or "linked_event_failed")
            for request, recorded, salt, refusal in zip(requests, known, salts, refusals, strict=True)
        ]

    def attempt(
        self, requests: list[Request], user_id: str, salts: list[bytes], opening: Opening | None
    ) -> tuple[list[TransferResult], str | None]:
        """All results; or those before the first that is refused, and its refusal, as if none had been tried."""
        block, moved, reserved = self.block, self.moved, self.reserved
        self.moved, self.reserved = dict(moved), dict(reserved)
        mark = block.mark()
        self.book.begin_chain()
        if opening is not None and opening[0].account_id not in self.book:
            account_events.open_account(self.book, block, *opening)
        results: list[TransferResult] = []
        for request, salt in zip(requests, salts, strict=True):
            refusal = self.carry_out(request)
            if refusal is not None:
                self.book.end_chain(undo=True)
                block.cut(mark)
                self.moved, self.reserved = moved, reserved
                return results, refusal
            results.append(self.record(request, user_id, salt, None))
        self.book.end_chain(undo=False)
        return results, None

    # -- what the rules decide, and what is written of it -------------------------------------------------------------

    def carry_out(self, request: Request) -> str | None:
        """Have the book do what the rules allow, and count what it did; the refusal if they do not."""
        if request.refuse:
            return request.refuse
        kind, asset = request.kind, request.asset
        if kind == POST and not request.reverses_id:
            refusal = post(self.book, request, None, self.time_us)
            if refusal is None:
                self.moved[asset] = self.moved.get(asset, 0) + request.amount
            return refusal
        subject_id = request.pending_id or request.reverses_id
        subject = self.subject(subject_id) if subject_id else None
        refusal = post(self.book, request, subject, self.time_us)
        if refusal is not None:
            return refusal
        if kind in MOVED:
            self.moved[asset] = self.moved.get(asset, 0) + request.amount
        if kind == PENDING:
            self.reserved[asset] = self.reserved.get(asset, 0) + request.amount
        elif request.pending_id and subject is not None:
            self.reserved[asset] = self.reserved.get(asset, 0) - subject.transfer.amount
        return None

    def expire(self, pending_id: str) -> None:
        """Write that a pending transfer's time is over, if it is and nothing else has resolved it."""
        salt = self.salt()
        subject = self.subject(pending_id)
        if subject is None:
            raise InvariantBroken(f"transfer {pending_id} is to expire, but it is not there")
        if not expire(self.book, subject, self.time_us):
            return
        pending, block = subject.transfer, self.block
        self.reserved[pending.asset] = self.reserved.get(pending.asset, 0) - pending.amount
        debit, credit = self.book.get(pending.debit_account_id), self.book.get(pending.credit_account_id)
        assert debit is not None
        assert credit is not None
        transfer = expiry(pending, block.place(), debit.balance, credit.balance)
        block.plain = False
        block.tell_owners(debit, credit)
        block.append(transfer, None, salt, leaf_hash(leaf_of_transfer(transfer, None, salt)))

    def record_posts(self, posted: list[Posted]) -> None:
        """Append transfers of kind "post" that were carried out to the block."""
        if posted:
            begin = self.drawn
            self.drawn += SALT_BYTES * len(posted)
            salts = [self.entropy[at : at + SALT_BYTES] for at in range(begin, self.drawn, SALT_BYTES)]
            transfers = [transfer for transfer, _, _ in posted]
            self.block.extend(transfers, salts, hashes_of_posts(posted, salts))

    def record(self, request: Request, user_id: str, salt: bytes, refusal: str | None) -> TransferResult:
        """Append a decided transfer to the block."""
        debit, credit = self.book.get(request.debit_account_id), self.book.get(request.credit_account_id)
        block = self.block
        debit_balance = credit_balance = 0
        if refusal is None and debit is not None and credit is not None:
            debit_balance, credit_balance = debit.balance, credit.balance
            block.tell_owners(debit, credit)
        transfer = Transfer(
            request.transfer_id,
            request.debit_account_id,
            request.credit_account_id,
            request.amount,
            request.asset,
            request.code,
            request.description,
            request.metadata,
            user_id,
            *block.place(),
            debit_balance,
            credit_balance,
            request.kind,
            request.pending_id,
            request.reverses_id,
            request.timeout_s,
        )
        block.plain = block.plain and type(request) is PostTransfer
        block.append(transfer, refusal, salt, leaf_hash(leaf_of_transfer(transfer, refusal, salt)))
        return TransferResult(request.transfer_id, transfer if refusal is None else None, refusal)


def _taken(recorded: Recorded, request: Request) -> str:
    """The refusal of a transfer in a chain whose id was used before, though not all of the chain's were."""
    return replay(recorded, request).refusal or "chain_id_taken"

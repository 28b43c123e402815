"""Double entry in memory: the balances, what is reserved, and what of it can be taken back. Pure.

A transfer adds its amount to the debit account's debits and to the credit account's credits; of what is posted nothing
is ever subtracted, so the sum of debits is the sum of credits, per asset, always. A pending transfer does the same to
the pending totals, from where it is moved, or released, once. A user's balance is posted credits - posted debits.

The book carries out what `rules` allows. It works on one block at a time: what a block changed can be taken back
(:meth:`Book.rollback`) until it is known to be durable (:meth:`Book.commit`), and within it a chain of linked transfers
(:meth:`Book.begin_chain`). While a block is being written (:meth:`Book.seal`) the next one can be decided on top of it;
what takes back the one takes back the other. Between blocks the book is a cache: the accounts used least recently are
dropped above its capacity and loaded again when they are needed.
"""

from __future__ import annotations

from collections import OrderedDict

from bitnexus.actors.ledger.accounts import Account, Totals
from bitnexus.actors.messages import Transfer


class InvariantBroken(Exception):
    """The book contradicts itself: the ledger must not go on."""


class Subject:
    """A recorded transfer that others refer to, and the kind of the transfer that resolved or reversed it, or ""."""

    __slots__ = ("resolution", "transfer")

    def __init__(self, transfer: Transfer, resolution: str = "") -> None:
        self.transfer = transfer
        self.resolution = resolution


class Book:
    """The accounts in memory, at most `capacity` between two blocks, and as many subjects."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._before: dict[str, Totals] = {}
        self._opened: dict[str, Account] = {}
        # The same of the block that is being written.
        self._sealed: tuple[dict[str, Totals], dict[str, Account], list[tuple[str, str | None]]] | None = None
        self._subjects: OrderedDict[str, Subject] = OrderedDict()
        # Changes of subjects in the present block: the resolution before, None if there was no such subject.
        self._resolved: list[tuple[str, str | None]] = []
        self._chain: dict[str, Totals] | None = None
        self._chain_start = 0
        self._chain_opened = 0
        self.get = self._accounts.get
        self.subject = self._subjects.get

    def __len__(self) -> int:
        return len(self._accounts)

    def __contains__(self, account_id: str) -> bool:
        return account_id in self._accounts

    def load(self, account: Account) -> None:
        """Take in an account as the database has it; it must not be in memory, where the truth is newer."""
        if account.id in self._accounts:
            raise InvariantBroken(f"{account!r} loaded over the one in memory")
        self._accounts[account.id] = account

    def open(self, account: Account) -> None:
        """Open a new account by an event of the present block."""
        self.load(account)
        self._opened[account.id] = account

    def load_subject(self, subject: Subject) -> None:
        """Take in a transfer that others refer to as the database has it; it must not be in memory."""
        if self._subjects.setdefault(subject.transfer.transfer_id, subject) is not subject:
            raise InvariantBroken(f"transfer {subject.transfer.transfer_id} loaded over the one in memory")

    def add_subject(self, transfer: Transfer) -> Subject:
        """A transfer of the present block to which another one of it refers."""
        subject = Subject(transfer)
        self.load_subject(subject)
        self._resolved.append((transfer.transfer_id, None))
        return subject

    # -- what a transfer does, once the rules allow it --------------------------------------------------------------

    def post(self, debit: Account, credit: Account, amount: int) -> None:
        """Move the amount."""
        before = self._before
        if self._chain is not None or debit.id not in before:
            self._touch(debit)
        if self._chain is not None or credit.id not in before:
            self._touch(credit)
        debit.debits_posted += amount
        credit.credits_posted += amount

    def reserve(self, debit: Account, credit: Account, amount: int) -> None:
        """Have the amount pending."""
        self._touch(debit)
        self._touch(credit)
        debit.debits_pending += amount
        credit.credits_pending += amount

    def resolve(self, subject: Subject, kind: str) -> None:
        """Note that the subject is resolved, or reversed, by a transfer of that kind."""
        if subject.resolution:
            raise InvariantBroken(f"transfer {subject.transfer.transfer_id} resolved twice")
        self._resolved.append((subject.transfer.transfer_id, subject.resolution))
        subject.resolution = kind

    def set_state(self, account: Account, state: int) -> None:
        """Freeze, unfreeze or close."""
        self._touch(account)
        account.state = state

    def _touch(self, account: Account) -> None:
        id_ = account.id
        if id_ not in self._before:
            self._before[id_] = account.totals
        if self._chain is not None and id_ not in self._chain:
            self._chain[id_] = account.totals

    # -- chains ---------------------------------------------------------------------------------------------------

    def begin_chain(self) -> None:
        """What follows succeeds or fails together."""
        self._chain = {}
        self._chain_start = len(self._resolved)
        self._chain_opened = len(self._opened)

    def end_chain(self, *, undo: bool) -> None:
        """The chain is complete; with `undo`, as if it had never been begun."""
        chain, self._chain = self._chain, None
        if undo:
            self._restore(chain or {}, self._chain_start)
            for id_ in list(self._opened)[self._chain_opened :]:
                del self._opened[id_], self._accounts[id_]
                self._before.pop(id_, None)

    def _restore(self, totals: dict[str, Totals], start: int) -> None:
        for id_, before in totals.items():
            self._accounts[id_].totals = before
        while len(self._resolved) > start:
            id_, resolution = self._resolved.pop()
            if resolution is None:
                del self._subjects[id_]
            else:
                self._subjects[id_].resolution = resolution

    # -- blocks ---------------------------------------------------------------------------------------------------

    def changed(self) -> list[Account]:
        """The accounts that were there before the present block and which it changed."""
        opened, accounts = self._opened, self._accounts
        return [accounts[id_] for id_, before in self._before.items() if id_ not in opened]

    def check(self, moved: dict[str, int], reserved: dict[str, int] | None = None) -> None:
        """Check the present block: `moved` is the sum of its posted amounts per asset, `reserved` that of the pending.

        Raises:
            InvariantBroken: debits or credits changed by anything else, or an account is beyond its limits.
        """
        sums: dict[str, list[int]] = {}
        for id_, (debits, credits_, debits_pending, credits_pending, _) in self._before.items():
            account = self._accounts[id_]
            more_debits, more_credits = account.debits_posted - debits, account.credits_posted - credits_
            if more_debits < 0 or more_credits < 0 or not account.is_within_limits:
                raise InvariantBroken(f"{account!r} is beyond its limit, or its totals shrank")
            of_asset = sums.setdefault(account.asset, [0, 0, 0, 0])
            of_asset[0] += more_debits
            of_asset[1] += more_credits
            of_asset[2] += account.debits_pending - debits_pending
            of_asset[3] += account.credits_pending - credits_pending
        reserved = reserved or {}
        for asset in sums.keys() | moved.keys() | reserved.keys():
            posted, pending = moved.get(asset, 0), reserved.get(asset, 0)
            if sums.get(asset, [0, 0, 0, 0]) != [posted, posted, pending, pending]:
                raise InvariantBroken(f"{asset}: {posted} moved, {pending} reserved, but the totals say {sums}")

    def seal(self) -> None:
        """The present block is complete, and about to be written; what comes belongs to the next one."""
        if self._sealed is not None:
            raise InvariantBroken("a block is sealed on top of one that is not durable")
        self._sealed = self._before, self._opened, self._resolved
        self._before, self._opened, self._resolved = {}, {}, []

    def commit(self) -> None:
        """The sealed block is durable: nothing of it can be taken back any more."""
        if self._sealed is None:
            raise InvariantBroken("there is no block to commit")
        accounts, subjects = self._accounts, self._subjects
        before, _, resolved = self._sealed
        self._sealed = None
        for id_ in before:
            accounts.move_to_end(id_)
        for id_, _ in resolved:
            subjects.move_to_end(id_)
        if self._before:
            return  # the next block is under way, and what it needs must stay
        while len(accounts) > self._capacity:
            accounts.popitem(last=False)
        while len(subjects) > self._capacity:
            subjects.popitem(last=False)

    def rollback(self) -> None:
        """The sealed block was not written: as if neither it nor the present one had ever been decided."""
        self.drop()
        if self._sealed is not None:
            self._before, self._opened, self._resolved = self._sealed
            self._sealed = None
            self.drop()

    def drop(self) -> None:
        """The present block is not to be: as if it had never been decided. The sealed one stays."""
        self._restore(self._before, 0)
        for id_ in self._opened:
            del self._accounts[id_]
        self._forget_block()

    def clear(self) -> None:
        """Forget everything: all of it can be loaded again."""
        self._accounts.clear()
        self._subjects.clear()
        self._sealed = None
        self._forget_block()

    def _forget_block(self) -> None:
        self._before.clear()
        self._opened.clear()
        self._resolved.clear()
        self._chain = None

"""Double entry in memory: the balances, and the decision on one transfer after the other. Pure.

A transfer adds its amount to the debit account's debits and to the credit account's credits; nothing is ever
subtracted, so the sum of debits is the sum of credits, per asset, always. A user's balance is credits - debits.

The book decides one block at a time. What a block changed can be taken back (:meth:`Book.rollback`) until it is known
to be durable (:meth:`Book.commit`). Between blocks the book is a cache: the accounts used least recently are dropped
above its capacity and loaded again when they are needed.

Refusals, in the order in which they are looked for (idempotency, which precedes all of them, is in `blocks`):
``accounts_must_be_different`` > ``debit_account_not_found`` > ``credit_account_not_found`` > ``asset_mismatch`` >
``overflow`` > ``exceeds_credits`` > ``exceeds_debits``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from bitnexus.actors.ledger.accounts import (
    CREDITS_MUST_NOT_EXCEED_DEBITS,
    DEBITS_MUST_NOT_EXCEED_CREDITS,
    MAX_TOTAL,
    uuid_bytes,
)
from bitnexus.actors.ledger.log import text

#: Refusals that follow from the command and from what can never change: they do not burn the transfer's id.
TIMELESS: Final = frozenset({"accounts_must_be_different", "asset_mismatch"})


class InvariantBroken(Exception):
    """The book contradicts itself: the ledger must not go on."""


class Account:
    """An account and its totals, in minor units of its asset."""

    __slots__ = (
        "asset",
        "asset_text",
        "code",
        "credits_posted",
        "debits_posted",
        "flags",
        "id",
        "opened_block",
        "opened_seq",
        "opened_us",
        "owner_id",
        "raw",
        "salt",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - the column's name
        *,
        owner_id: str,
        asset: str,
        code: int = 0,
        flags: int = DEBITS_MUST_NOT_EXCEED_CREDITS,
        debits_posted: int = 0,
        credits_posted: int = 0,
        opened_seq: int = 0,
        opened_block: int = 0,
        opened_us: int = 0,
        salt: bytes = b"",
    ) -> None:
        self.id = id
        self.raw = uuid_bytes(id)
        self.owner_id = owner_id
        self.asset = asset
        self.asset_text = text(asset)
        self.code = code
        self.flags = flags
        self.debits_posted = debits_posted
        self.credits_posted = credits_posted
        self.opened_seq = opened_seq
        self.opened_block = opened_block
        self.opened_us = opened_us
        self.salt = salt

    @property
    def balance(self) -> int:
        """Credits - debits: what its owner has."""
        return self.credits_posted - self.debits_posted

    def __repr__(self) -> str:
        return f"<Account {self.id} {self.asset} debits={self.debits_posted} credits={self.credits_posted}>"


class Book:
    """The accounts in memory, at most `capacity` between two blocks."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._before: dict[str, tuple[int, int]] = {}
        self._opened: dict[str, Account] = {}
        self.get = self._accounts.get

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

    def post(  # noqa: PLR0911 - one return per refusal, in the order of precedence
        self, debit_id: str, credit_id: str, amount: int, asset: str
    ) -> str | None:
        """Decide a transfer and carry it out; the refusal's code if it must not be, and nothing changed."""
        if debit_id == credit_id:
            return "accounts_must_be_different"
        debit = self.get(debit_id)
        if debit is None:
            return "debit_account_not_found"
        credit = self.get(credit_id)
        if credit is None:
            return "credit_account_not_found"
        if debit.asset != asset or credit.asset != asset:
            return "asset_mismatch"
        debits, credits = debit.debits_posted + amount, credit.credits_posted + amount  # noqa: A001 - the field's word
        if debits > MAX_TOTAL or credits > MAX_TOTAL:
            return "overflow"
        if debit.flags & DEBITS_MUST_NOT_EXCEED_CREDITS and debits > debit.credits_posted:
            return "exceeds_credits"
        if credit.flags & CREDITS_MUST_NOT_EXCEED_DEBITS and credits > credit.debits_posted:
            return "exceeds_debits"
        before = self._before
        if debit_id not in before:
            before[debit_id] = (debit.debits_posted, debit.credits_posted)
        if credit_id not in before:
            before[credit_id] = (credit.debits_posted, credit.credits_posted)
        debit.debits_posted = debits
        credit.credits_posted = credits
        return None

    def changed(self) -> list[Account]:
        """The accounts that were there before the present block and whose totals it changed."""
        opened = self._opened
        return [self._accounts[id_] for id_ in self._before if id_ not in opened]

    def check(self, moved: dict[str, int]) -> None:
        """Check the present block: `moved` is the sum of its posted amounts, per asset.

        Raises:
            InvariantBroken: debits or credits grew by anything else, or an account is beyond its limits.
        """
        debits, credits = dict.fromkeys(moved, 0), dict.fromkeys(moved, 0)  # noqa: A001
        for id_, (debits_before, credits_before) in self._before.items():
            account = self._accounts[id_]
            more_debits, more_credits = account.debits_posted - debits_before, account.credits_posted - credits_before
            if more_debits < 0 or more_credits < 0 or max(account.debits_posted, account.credits_posted) > MAX_TOTAL:
                raise InvariantBroken(f"{account!r}: totals shrank or overflowed")
            over = account.debits_posted - account.credits_posted
            if (over > 0 and account.flags & DEBITS_MUST_NOT_EXCEED_CREDITS) or (
                over < 0 and account.flags & CREDITS_MUST_NOT_EXCEED_DEBITS
            ):
                raise InvariantBroken(f"{account!r} is beyond its limit")
            debits[account.asset] = debits.get(account.asset, 0) + more_debits
            credits[account.asset] = credits.get(account.asset, 0) + more_credits
        if debits != moved or credits != moved:
            raise InvariantBroken(f"amounts {moved} moved, but debits grew by {debits} and credits by {credits}")

    def commit(self) -> None:
        """The present block is durable: nothing of it can be taken back any more."""
        accounts = self._accounts
        for id_ in self._before:
            accounts.move_to_end(id_)
        self._before.clear()
        self._opened.clear()
        while len(accounts) > self._capacity:
            accounts.popitem(last=False)

    def rollback(self) -> None:
        """The present block was not written: as if it had never been decided."""
        for id_, totals in self._before.items():
            account = self._accounts[id_]
            account.debits_posted, account.credits_posted = totals
        for id_ in self._opened:
            del self._accounts[id_]
        self._before.clear()
        self._opened.clear()

    def clear(self) -> None:
        """Forget everything: all of it can be loaded again."""
        self._accounts.clear()
        self._before.clear()
        self._opened.clear()

"""The ledger as one would explain it: everything is found by looking through the list of what happened."""

from __future__ import annotations

from dataclasses import dataclass, field

from bitnexus.actors.ledger.accounts import MAX_TOTAL
from bitnexus.actors.messages import ChangeAccount, PostTransfer, TransferRequest

Request = PostTransfer | TransferRequest
FIELDS = (
    "kind", "pending_id", "reverses_id", "debit_account_id", "credit_account_id", "amount", "asset", "timeout_s",
    "code", "description", "metadata",
)  # fmt: skip
NEVER_CHANGE = {
    "accounts_must_be_different", "asset_mismatch", "timeout_reserved_for_pending_transfer",
    "pending_id_mismatches_kind", "reverses_id_mismatches_kind", "pending_transfer_not_pending",
    "pending_transfer_already_posted", "pending_transfer_already_voided", "pending_transfer_expired",
    "reversed_transfer_not_posted", "reversed_transfer_already_reversed",
}  # fmt: skip


def never_changes(refusal: str) -> bool:
    return refusal in NEVER_CHANGE or "_has_different_" in refusal


@dataclass
class Done:
    """A transfer that was carried out, and when; of an expiry, `expired` is the id of the pending one."""

    request: Request | None
    time_us: int
    expired: str = ""


@dataclass
class Opened:
    owner: str
    asset: str
    code: int
    flags: int
    limit: int
    state: str = "open"


@dataclass
class Model:
    accounts: dict[str, Opened] = field(default_factory=dict)
    done: list[Done] = field(default_factory=list)
    results: dict[str, tuple[Request, str | None]] = field(default_factory=dict)

    # -- looking back -----------------------------------------------------------------------------------------------

    def find(self, transfer_id: str) -> Done | None:
        return next((d for d in self.done if d.request and d.request.transfer_id == transfer_id), None)

    def end_of(self, pending_id: str) -> str:
        for d in self.done:
            if d.expired == pending_id:
                return "expired"
            if d.request and d.request.pending_id == pending_id:
                return "posted" if d.request.kind == "post_pending" else "voided"
        return ""

    def totals(self, account_id: str) -> tuple[int, int, int, int]:
        """Debits posted, credits posted, debits pending, credits pending."""
        posted, pending = [0, 0], [0, 0]
        for d in self.done:
            ended = d.expired or (d.request.pending_id if d.request else "")
            if ended:
                first = self.find(ended)
                assert first
                assert first.request
                for side, name in enumerate(("debit_account_id", "credit_account_id")):
                    pending[side] -= first.request.amount * (getattr(first.request, name) == account_id)
            if d.request is None or d.request.kind == "void_pending":
                continue
            for side, name in enumerate(("debit_account_id", "credit_account_id")):
                if getattr(d.request, name) == account_id:
                    (pending if d.request.kind == "pending" else posted)[side] += d.request.amount
        return posted[0], posted[1], pending[0], pending[1]

    def check(self) -> None:
        """Conservation and every limit."""
        for asset in {a.asset for a in self.accounts.values()}:
            sums = [self.totals(id_) for id_, a in self.accounts.items() if a.asset == asset]
            assert sum(s[0] for s in sums) == sum(s[1] for s in sums)
            assert sum(s[2] for s in sums) == sum(s[3] for s in sums)
        for id_, account in self.accounts.items():
            debits, credited, debits_pending, credits_pending = self.totals(id_)
            assert min(debits, credited, debits_pending, credits_pending) >= 0
            assert max(debits + debits_pending, credited + credits_pending) <= MAX_TOTAL
            assert not account.flags & 1 or debits + debits_pending <= credited + account.limit
            assert not account.flags & 2 or credited + credits_pending <= debits + account.limit
            assert account.state != "closed" or (debits, debits_pending, credits_pending) == (credited, 0, 0)

    # -- deciding ---------------------------------------------------------------------------------------------------

    def refusal(self, r: Request, time_us: int) -> str | None:
        """The first of the list of refusals that applies."""
        return next(self.refusals(r, time_us), None)

    def refusals(self, r: Request, time_us: int):  # noqa: C901, PLR0912 - a list, in its order
        if r.kind != "pending" and r.timeout_s:
            yield "timeout_reserved_for_pending_transfer"
        ends = r.kind in {"post_pending", "void_pending"}
        if ends != bool(r.pending_id):
            yield "pending_id_mismatches_kind"
        if (r.kind == "reversal") != bool(r.reverses_id):
            yield "reverses_id_mismatches_kind"
        if r.debit_account_id == r.credit_account_id:
            yield "accounts_must_be_different"
        for side in ("debit", "credit"):
            if getattr(r, f"{side}_account_id") not in self.accounts:
                yield f"{side}_account_not_found"
        debit, credit = self.accounts[r.debit_account_id], self.accounts[r.credit_account_id]
        if debit.asset != r.asset or credit.asset != r.asset:
            yield "asset_mismatch"
        if ends:
            yield from self.refusals_of_end(r, time_us)
        if r.kind == "reversal":
            yield from self.refusals_of_reversal(r)
        states = {debit.state, credit.state}
        if r.kind == "void_pending":
            return
        if "closed" in states:
            yield "account_closed"
        if "frozen" in states:
            yield "account_frozen"
        if ends:
            return
        d_debits, d_credits, d_pending, _ = self.totals(r.debit_account_id)
        c_debits, c_credits, _, c_pending = self.totals(r.credit_account_id)
        if d_debits + d_pending + r.amount > MAX_TOTAL or c_credits + c_pending + r.amount > MAX_TOTAL:
            yield "overflow"
        if debit.flags & 1 and d_debits + d_pending + r.amount > d_credits + debit.limit:
            yield "exceeds_credits"
        if credit.flags & 2 and c_credits + c_pending + r.amount > c_debits + credit.limit:
            yield "exceeds_debits"

    def refusals_of_end(self, r: Request, time_us: int):
        found = self.find(r.pending_id)
        if found is None:
            yield "pending_transfer_not_found"
            return
        p = found.request
        assert p
        if p.kind != "pending":
            yield "pending_transfer_not_pending"
            return
        for name in ("debit_account_id", "credit_account_id", "asset"):
            if getattr(p, name) != getattr(r, name):
                yield f"pending_transfer_has_different_{name}"
        if r.kind == "void_pending" and r.amount != p.amount:
            yield "pending_transfer_has_different_amount"
        end = self.end_of(r.pending_id)
        if end:
            yield "pending_transfer_expired" if end == "expired" else f"pending_transfer_already_{end}"
        if p.timeout_s and time_us >= found.time_us + p.timeout_s * 1_000_000:
            yield "pending_transfer_expired"
        if r.amount > p.amount:
            yield "exceeds_pending_transfer_amount"

    def refusals_of_reversal(self, r: Request):
        found = self.find(r.reverses_id)
        if found is None:
            yield "reversed_transfer_not_found"
            return
        o = found.request
        assert o
        if o.kind not in {"post", "post_pending", "reversal"}:
            yield "reversed_transfer_not_posted"
        if r.debit_account_id != o.credit_account_id:
            yield "reversed_transfer_has_different_debit_account_id"
        if r.credit_account_id != o.debit_account_id:
            yield "reversed_transfer_has_different_credit_account_id"
        for name in ("asset", "amount"):
            if getattr(o, name) != getattr(r, name):
                yield f"reversed_transfer_has_different_{name}"
        if any(d.request and d.request.reverses_id == r.reverses_id for d in self.done):
            yield "reversed_transfer_already_reversed"

    # -- what is asked of it ----------------------------------------------------------------------------------------

    def replay(self, r: Request) -> tuple[str | None, bool]:
        first, refusal = self.results[r.transfer_id]
        for name in FIELDS:
            if getattr(first, name) != getattr(r, name):
                return f"exists_with_different_{name}", False
        return refusal, True

    def post(self, r: Request, time_us: int) -> tuple[str | None, bool]:
        """The refusal, and whether it is a replay."""
        if r.transfer_id in self.results:
            return self.replay(r)
        refusal = self.refusal(r, time_us)
        if refusal is None:
            self.done.append(Done(r, time_us))
            self.check()
        if refusal is None or not never_changes(refusal):
            self.results[r.transfer_id] = (r, refusal)
        return refusal, False

    def chain(self, requests: list[Request], time_us: int) -> list[str | None]:
        """The refusals of a chain."""
        seen = [self.results.get(r.transfer_id) for r in requests]
        outcomes = {s[1] is None for s in seen if s}
        if all(seen) and len(outcomes) == 1:
            return [self.replay(r)[0] for r in requests]
        answers: list[str | None]
        if any(seen):
            answers = [
                (self.replay(r)[0] or "chain_id_taken") if s else "linked_event_failed"
                for r, s in zip(requests, seen, strict=True)
            ]
        else:
            before = list(self.done)
            answers = [None] * len(requests)
            for at, r in enumerate(requests):
                refusal = self.refusal(r, time_us)
                if refusal is not None:
                    answers = ["linked_event_failed"] * len(requests)
                    answers[at] = refusal
                    self.done = before
                    break
                self.done.append(Done(r, time_us))
                self.check()
        for r, answer in zip(requests, answers, strict=True):
            self.results.setdefault(r.transfer_id, (r, answer))
        return answers

    def batch(self, requests: list[TransferRequest], time_us: int) -> list[str | None]:
        answers: list[str | None] = []
        chain: list[Request] = []
        for r in requests:
            chain.append(r)
            if not r.linked:
                answers += self.chain(chain, time_us) if len(chain) > 1 else [self.post(r, time_us)[0]]
                chain = []
        return answers

    def purchase(
        self, requests: list[Request], units_account_id: str, opened: Opened, time_us: int
    ) -> list[str | None]:
        """The refusals of a purchase's chain; the account of its units is there afterwards if there are none."""
        if units_account_id in self.accounts:
            return self.chain(requests, time_us)
        if any(r.transfer_id in self.results for r in requests):
            return self.chain(requests, time_us)
        self.accounts[units_account_id] = opened
        answers = self.chain(requests, time_us)
        if any(answers):
            del self.accounts[units_account_id]
        return answers

    def expire(self, ids: tuple[str, ...], time_us: int) -> list[str]:
        """Which of them have expired now."""
        gone = []
        for id_ in ids:
            found = self.find(id_)
            if not found or not found.request or not found.request.timeout_s or self.end_of(id_):
                continue
            if found.time_us + found.request.timeout_s * 1_000_000 <= time_us:
                self.done.append(Done(None, time_us, expired=id_))
                gone.append(id_)
                self.check()
        return gone

    def open(self, account_id: str, opened: Opened) -> bool:
        there = self.accounts.setdefault(account_id, opened)
        return all(getattr(there, n) == getattr(opened, n) for n in ("owner", "asset", "code", "flags", "limit"))

    def change(self, c: ChangeAccount) -> str:
        """The new status, or the error's code."""
        account = self.accounts.get(c.account_id)
        if account is None:
            return "not_found"
        wanted = {"freeze": "frozen", "unfreeze": "open", "close": "closed"}[c.action]
        if account.state != wanted:
            debits, credited, debits_pending, credits_pending = self.totals(c.account_id)
            if account.state == "closed" or (
                wanted == "closed" and (debits != credited or debits_pending or credits_pending)
            ):
                return "conflict"
            account.state = wanted
            self.check()
        return wanted

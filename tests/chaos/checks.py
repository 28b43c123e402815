"""Was every promise kept? A history is compared with itself and with what the ledger holds at the end. Pure.

    rule              what must hold
    acknowledged      what was told as done is in the ledger as it was told
    refused           what was told as refused is refused in the ledger, for the same reason, for ever
    each id once      an id has one place in the log, a place one id, every answer about an id is the first one again
    order             of one user, what began after another had been answered stands behind it
    forward           no read of a client shows an earlier state than it has seen or caused before
    reads             every read shows exactly what the log holds up to its position
    conservation      debits and credits are equal at every read, and at the end; nobody spends what they have not got
    events            of a topic, while a connection lasts, every event once and in order

Each check is a generator of violations, so that one bad run can be shown by all it breaks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TypeAlias

from bitnexus.actors.ledger.rules import BURNING
from tests.chaos.history import MOVING, RESOLVING, Balance, Books, History, Listening, Page, Row, Told, Trial, Violation

Read: TypeAlias = Page | Balance | Trial
_Promised: TypeAlias = tuple[list[float], list[int]]


def check(history: History, books: Books) -> list[Violation]:
    """All violations."""
    ledger = Replay(books)
    return [
        *_durable(history.told, ledger),
        *_once(history.told, books.rows),
        *_order(history.told),
        *_forward(history),
        *_reads(history, ledger),
        *_conservation(history.trials, ledger),
        *_events(history, ledger),
    ]


class Replay:
    """The books, played from the first transfer to the last."""

    def __init__(self, books: Books) -> None:
        self.last_seq = books.last_seq
        self.accounts = {account.account_id: account for account in books.accounts}
        self.rows = {row.transfer_id: row for row in books.rows}
        self._seqs: dict[str, list[int]] = defaultdict(list)  # by account, of what stands in its history
        self._entries: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
        self._asset_seqs: dict[str, list[int]] = defaultdict(list)
        self._asset_totals: dict[str, list[tuple[int, int]]] = defaultdict(list)  # posted, pending
        self.topics: dict[str, list[int]] = defaultdict(list)
        #: (account, seq, balance) where more was spent than was there.
        self.overdrawn: list[tuple[str, int, int]] = []
        self.balances: Counter[str] = Counter()
        for row in sorted(books.rows, key=lambda row: row.seq):
            if row.refusal is None:
                self._play(row)

    def _play(self, row: Row) -> None:
        moved = row.amount if row.kind in MOVING else 0
        self.balances[row.debit_account_id] -= moved
        self.balances[row.credit_account_id] += moved
        for account_id in dict.fromkeys((row.debit_account_id, row.credit_account_id)):
            self._seqs[account_id].append(row.seq)
            self._entries[account_id].append((row.seq, row.transfer_id, self.balances[account_id]))
        payer = self.accounts.get(row.debit_account_id)
        if payer is not None and not payer.may_be_overdrawn and self.balances[row.debit_account_id] < 0:
            self.overdrawn.append((row.debit_account_id, row.seq, self.balances[row.debit_account_id]))
        self._total(row, moved)
        owners = (self.accounts.get(each) for each in (row.debit_account_id, row.credit_account_id))
        for owner in dict.fromkeys(account.owner_id for account in owners if account is not None):
            self.topics[f"transaction:{owner}"].append(row.seq)

    def _total(self, row: Row, moved: int) -> None:
        totals = self._asset_totals[row.asset]
        posted, pending = totals[-1] if totals else (0, 0)
        if row.kind == "pending":
            pending += row.amount
        elif row.kind in RESOLVING and row.pending_id is not None and row.pending_id in self.rows:
            pending -= self.rows[row.pending_id].amount
        self._asset_seqs[row.asset].append(row.seq)
        totals.append((posted + moved, pending))

    def page(self, account_id: str, as_of_seq: int, limit: int) -> tuple[tuple[int, str, int], ...]:
        """The newest entries up to that event, newest first."""
        end = bisect_right(self._seqs[account_id], as_of_seq)
        return tuple(reversed(self._entries[account_id][max(0, end - limit) : end]))

    def balance(self, account_id: str, as_of_seq: int) -> int:
        """After that event."""
        newest = self.page(account_id, as_of_seq, 1)
        return newest[0][2] if newest else 0

    def totals(self, asset: str, as_of_seq: int) -> tuple[int, int]:
        """What was posted and what was pending after that event."""
        end = bisect_right(self._asset_seqs[asset], as_of_seq)
        return self._asset_totals[asset][end - 1] if end else (0, 0)


# -- transfers -----------------------------------------------------------------------------------------------


def _durable(told: Iterable[Told], ledger: Replay) -> Iterator[Violation]:
    for each in told:
        row = ledger.rows.get(each.transfer_id)
        rule = "acknowledged" if each.refusal is None else "refused"
        if row is None and each.refusal is not None and each.refusal not in BURNING:
            continue  # it follows from what can never change, and is recorded nowhere
        if row is None:
            yield Violation(rule, f"lost: {each}")
        elif row.refusal != each.refusal or (
            each.refusal is None
            and (
                (row.debit_account_id, row.credit_account_id, row.amount, row.seq, row.block)
                != (each.debit_account_id, each.credit_account_id, each.amount, each.seq, each.block)
            )
        ):
            yield Violation(rule, f"told {each}, recorded {row}")


def _once(told: Iterable[Told], rows: Iterable[Row]) -> Iterator[Violation]:
    rows = list(rows)
    for name, counts in (("id", Counter(row.transfer_id for row in rows)), ("place", Counter(row.seq for row in rows))):
        for what, count in counts.items():
            if count > 1:
                yield Violation("each id once", f"{name} {what} is recorded {count} times")
    first: dict[str, Told] = {}
    holder: dict[int, str] = {}
    for each in told:
        known = first.setdefault(each.transfer_id, each)
        if (known.seq, known.block, known.refusal) != (each.seq, each.block, each.refusal):
            rule = "refused" if known.refusal is not None else "each id once"
            yield Violation(rule, f"{known} became {each}")
        if each.seq is not None and holder.setdefault(each.seq, each.transfer_id) != each.transfer_id:
            yield Violation("each id once", f"{holder[each.seq]} and {each.transfer_id} were told the place {each.seq}")


def _order(told: Iterable[Told]) -> Iterator[Violation]:
    by_client: dict[str, list[Told]] = defaultdict(list)
    for each in told:
        if each.is_new and each.seq is not None:
            by_client[each.client].append(each)
    for sequence in by_client.values():
        for before, after in pairwise(sequence):
            assert before.seq is not None
            assert after.seq is not None
            if after.seq <= before.seq:
                yield Violation("order", f"{after} came before {before}")


# -- reads ---------------------------------------------------------------------------------------------------


def _forward(history: History) -> Iterator[Violation]:
    """What a client knew when it began to read is the least that it must be shown."""
    seen: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for told in history.told:
        if told.seq is not None:
            seen[told.client].append((told.ended_at, told.seq))
    reads: dict[str, list[Read]] = defaultdict(list)
    all_reads: tuple[Read, ...] = (*history.pages, *history.balances, *history.trials)
    for read in all_reads:
        reads[read.client].append(read)
        seen[read.client].append((read.ended_at, read.as_of_seq))
    for client, own in reads.items():
        known = sorted(seen[client])
        times = [at for at, _ in known]
        most = _running_maximum(seq for _, seq in known)
        for read in own:
            before = bisect_left(times, read.began_at)
            if before and read.as_of_seq < most[before - 1]:
                yield Violation("forward", f"{client} knew of {most[before - 1]} and was then shown {read}")


def _running_maximum(numbers: Iterable[int]) -> list[int]:
    found: list[int] = []
    for number in numbers:
        found.append(max(number, found[-1]) if found else number)
    return found


def _reads(history: History, ledger: Replay) -> Iterator[Violation]:
    for page in history.pages:
        right = ledger.page(page.account_id, page.as_of_seq, page.limit)
        if page.entries != right:
            yield Violation("reads", f"{page}, the log has {right}")
    for read in history.balances:
        balance = ledger.balance(read.account_id, read.as_of_seq)
        if read.balance != balance:
            yield Violation("reads", f"{read}, by the log it is {balance}")


def _conservation(trials: Iterable[Trial], ledger: Replay) -> Iterator[Violation]:
    for trial in trials:
        unequal = [each for each in (*trial.posted, *trial.pending) if each[1] != each[2]]
        if unequal or not trial.balanced:
            yield Violation("conservation", f"debits and credits differ: {unequal} in {trial}")
        for (asset, posted, _), (_, pending, _) in zip(trial.posted, trial.pending, strict=True):
            right = ledger.totals(asset, trial.as_of_seq)
            if (posted, pending) != right:
                shown = f"shown {posted}, {pending} pending, by the log {right}"
                yield Violation("conservation", f"{asset} at {trial.as_of_seq}: {shown}")
    for account_id, seq, balance in ledger.overdrawn:
        yield Violation("conservation", f"account {account_id} has {balance} after event {seq}")
    surplus: Counter[str] = Counter()
    for account in ledger.accounts.values():
        recorded, by_log = account.credits_posted - account.debits_posted, ledger.balances[account.account_id]
        surplus[account.asset] += recorded
        if recorded != by_log:
            yield Violation("conservation", f"account {account.account_id} holds {recorded}, by the log {by_log}")
    yield from (Violation("conservation", f"{asset}: {much} too much") for asset, much in surplus.items() if much)


# -- events --------------------------------------------------------------------------------------------------


def _events(history: History, ledger: Replay) -> Iterator[Violation]:
    promised = _promised(history.told)
    for listening in history.listenings:
        heard, of_log = listening.heard, ledger.topics[listening.topic]
        who = f"{listening.client} on {listening.topic} since {listening.joined_at:.3f}"
        twice = [seq for seq, count in Counter(heard).items() if count > 1]
        if twice:
            yield Violation("events", f"{who} heard twice: {twice[:10]}")
        if sorted(heard) != heard:
            yield Violation("events", f"{who} heard out of order: {next((a, b) for a, b in pairwise(heard) if b < a)}")
        foreign = set(heard).difference(of_log)
        if foreign:
            yield Violation("events", f"{who} heard what is not in the log: {sorted(foreign)[:10]}")
        begin = _first(listening, of_log, promised)
        end = len(of_log) if listening.at_rest else bisect_right(of_log, max(heard, default=-1))
        missing = set(of_log[begin:end]).difference(heard)
        if missing:
            yield Violation("events", f"{who} never heard {len(missing)}: {sorted(missing)[:10]}")


def _first(listening: Listening, of_log: list[int], promised: _Promised) -> int:
    """The place in the topic's log from which on nothing may be missing.

    Where the service named a position: after that. Else what came first is the beginning, but what was asked for after
    the join had been answered must have come.
    """
    if listening.after is not None:
        return bisect_right(of_log, listening.after)
    begun_ats, first_seqs = promised
    after_join = bisect_right(begun_ats, listening.joined_at)
    bounds = [*listening.heard[:1], *first_seqs[after_join : after_join + 1]]
    return bisect_left(of_log, min(bounds)) if bounds else len(of_log)


def _promised(told: Iterable[Told]) -> _Promised:
    """When transfers were asked for first; and beside each the first place that this one and all later ones got."""
    asked = sorted((each.began_at, each.seq) for each in told if each.is_new and each.seq is not None)
    lowest: list[int] = []
    for _, seq in reversed(asked):
        lowest.append(min(seq, lowest[-1]) if lowest else seq)
    return [began_at for began_at, _ in asked], lowest[::-1]

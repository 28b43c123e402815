"""Callers of the ledger who repeat a command until they have its answer, and keep book of all answers."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from bitnexus.actors.ledger.ahead import LARGE
from bitnexus.actors.messages import PostTransfer, PostTransfers, TransferRequest, TransferResult
from bitnexus.errors import DatabaseUnavailable, RuntimeFault
from tests.integration.small_tree import ADMIN, ASSET, PARTITION, Tree

LEDGER: Final = "ledger"
#: From the first attempt to the answer, over all repeats.
ANSWER_WITHIN_S: Final = 60.0
#: Far more than anybody has: such a transfer is refused.
TOO_MUCH: Final = 10**12
FUNDS: Final = 10**9
MOST_COMPLAINTS: Final = 20
#: How many answers are asked for again at the end.
ASKED_AGAIN: Final = 2_000

Request = PostTransfer | TransferRequest


@dataclass(slots=True)
class Book:
    """What the callers were told: by id, what was asked for and the answer to it."""

    answers: dict[str, tuple[Request, TransferResult]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def complain(self, about: str) -> None:
        """Note what must not happen; of many, the first."""
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(about)

    def note(self, request: Request, result: TransferResult) -> None:
        """Take in an answer; a second one must be the first again."""
        known = self.answers.get(request.transfer_id)
        if known is None:
            self.answers[request.transfer_id] = request, result
            self.counts["posted" if result.refusal is None else "refused"] += 1
            self.counts["replayed at first"] += result.replayed
            if result.refusal is not None:
                self.refused.append(request.transfer_id)
            return
        self.counts["asked again"] += 1
        first = known[1]
        if not result.replayed or (result.transfer, result.refusal) != (first.transfer, first.refusal):
            self.complain(f"{words(first)} became {words(result)}")


def words(result: TransferResult) -> str:
    """An answer in words: messages do not print what is in them."""
    place = "" if result.transfer is None else f" event {result.transfer.seq} in block {result.transfer.block}"
    return f"{result.transfer_id}{place} {result.refusal or 'posted'}{' (replayed)' if result.replayed else ''}"


class Callers:
    """Users who pay each other, each over their own transaction actor, and batches that go to the ledger itself."""

    def __init__(self, tree: Tree, book: Book, chance: random.Random) -> None:
        self._tree, self._book, self._chance = tree, book, chance
        self._accounts: dict[str, str] = {}  # user → account
        self._stopping = False

    async def open(self, count: int) -> None:
        """Open and fund so many accounts."""
        users = [str(uuid.uuid4()) for _ in range(count)]
        accounts = await asyncio.gather(*map(self._tree.open, users))
        self._accounts.update(zip(users, accounts, strict=True))
        await asyncio.gather(*(self._tree.fund(account, FUNDS) for account in accounts))

    def start(self, batches: int, large: int) -> list[asyncio.Task[None]]:
        """A task for each user, so many that send batches of all kinds, and so many that send large plain ones."""
        users = [self._pay_for_ever(user) for user in self._accounts]
        mixed = [self._send_for_ever() for _ in range(batches)]
        plain = [self._send_large_for_ever() for _ in range(large)]
        return [asyncio.create_task(work) for work in (*users, *mixed, *plain)]

    def stop(self) -> None:
        """Let each of them get the answer that it waits for, and end."""
        self._stopping = True

    async def ask_again(self) -> None:
        """Ask for many of all answers once more: they must be the same."""
        ids = list(self._book.answers)
        for id_ in self._chance.sample(ids, min(ASKED_AGAIN, len(ids))):
            await self._repeat(id_)
        for id_ in self._chance.sample(self._book.refused, min(ASKED_AGAIN, len(self._book.refused))):
            await self._repeat(id_)

    async def _pay_for_ever(self, user: str) -> None:
        while not self._stopping:
            if self._book.refused and self._chance.random() < 0.05:
                await self._repeat(self._chance.choice(self._book.refused))
            debit, credit = self._accounts[user], self._another(self._accounts[user])
            amount = TOO_MUCH if self._chance.random() < 0.1 else self._chance.randint(1, 100)
            await self._post(PostTransfer(user, "user", self._id(), debit, credit, amount, ASSET))

    async def _send_for_ever(self) -> None:
        pending: list[TransferRequest] = []
        while not self._stopping:
            batch = [self._request(pending) for _ in range(self._chance.randint(1, 60))]
            batch[-1] = TransferRequest(self._id(), *self._two(), 1, ASSET)  # the last one cannot be linked
            done = await self._send(batch)
            pending += [request for request in done if request.kind == "pending" and not request.timeout_s]

    async def _send_large_for_ever(self) -> None:
        """Enough of them for the ledger to decide one block while it writes another."""
        while not self._stopping:
            await self._send([self._plain() for _ in range(self._chance.randint(LARGE, 2 * LARGE))])
            await asyncio.sleep(self._chance.uniform(0, 0.1))

    def _plain(self) -> TransferRequest:
        amount = TOO_MUCH if self._chance.random() < 0.02 else self._chance.randint(1, 100)
        return TransferRequest(self._id(), *self._two(), amount, ASSET)

    def _request(self, pending: list[TransferRequest]) -> TransferRequest:
        kind = self._chance.random()
        if kind < 0.1 and pending:
            first = pending.pop(self._chance.randrange(len(pending)))
            resolution = self._chance.choice(("post_pending", "void_pending"))
            accounts = (first.debit_account_id, first.credit_account_id)
            return TransferRequest(
                self._id(), *accounts, first.amount, ASSET, kind=resolution, pending_id=first.transfer_id
            )
        if kind < 0.3:
            timeout_s = self._chance.choice((0, 0, 1, 2))
            return TransferRequest(self._id(), *self._two(), 7, ASSET, kind="pending", timeout_s=timeout_s)
        amount = TOO_MUCH if kind < 0.32 else self._chance.randint(1, 100)
        return TransferRequest(self._id(), *self._two(), amount, ASSET, linked=kind > 0.9)

    async def _repeat(self, id_: str) -> None:
        request, _ = self._book.answers[id_]
        if isinstance(request, PostTransfer):
            await self._post(request)

    async def _post(self, command: PostTransfer) -> None:
        result = await self._answer(PARTITION, command)
        if isinstance(result, TransferResult):
            self._book.note(command, result)

    async def _send(self, batch: list[TransferRequest]) -> list[TransferRequest]:
        """Those that were carried out."""
        answer = await self._answer(LEDGER, PostTransfers(ADMIN, "admin", batch))
        results: Iterable[TransferResult] = getattr(answer, "results", ())
        done = list(zip(batch, results, strict=False))
        for request, result in done:
            self._book.note(request, result)
        return [request for request, result in done if result.refusal is None]

    async def _answer(self, name: str, command: PostTransfer | PostTransfers) -> object:
        """The answer, however often it has to be asked for; None, and a complaint, after `ANSWER_WITHIN_S`."""
        begun = time.monotonic()
        while (waited := time.monotonic() - begun) < ANSWER_WITHIN_S:
            try:
                answer = await self._tree.ask(name, command)
            except (DatabaseUnavailable, RuntimeFault) as error:
                self._book.counts[type(error).__name__] += 1
                await asyncio.sleep(self._chance.uniform(0.005, 0.05))  # a client's pause before it tries again
            else:
                self._book.slowest_s = max(self._book.slowest_s, time.monotonic() - begun)
                return answer
        what = command.transfer_id if isinstance(command, PostTransfer) else f"a batch of {len(command.transfers)}"
        self._book.complain(f"no answer after {waited:.0f} s to {what}")
        return None

    def _id(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def _two(self) -> tuple[str, str]:
        one, other = self._chance.sample(list(self._accounts.values()), 2)
        return one, other

    def _another(self, account: str) -> str:
        while (other := self._chance.choice(list(self._accounts.values()))) == account:
            pass
        return other

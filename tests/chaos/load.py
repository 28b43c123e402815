"""Clients of several kinds, each a user of its own with one request at a time, who keep a history of what they hear.

Payer      posts plain transfers, some of more than it has, and asks for earlier ones again; reads its own account
Batcher    posts batches, atomic ones among them
Reserver   reserves, then posts a part, voids, or lets the time pass
Buyer      buys from the shop
Reader     reads the account of somebody who pays
Auditor    reads trial balances, as the admin
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from tests.chaos.asking import Answer, Asker, Request, request
from tests.chaos.history import Balance, History, Page, Told, Trial
from tests.customers import Customer

API: Final = "/api/v1"
#: More than anybody has: refused, for ever.
TOO_MUCH: Final = 10**12
LARGEST_AMOUNT: Final = 500
PAGE: Final = 20
LARGEST_BATCH: Final = 40
#: Of what was answered, so much is remembered to be asked for again.
_REMEMBERED: Final = 400
_OK, _CREATED, _REFUSED = 200, 201, 422
Fields = dict[str, Any]


class Client:
    """One client of `customer`'s; `pause_s` is its rest between two requests."""

    def __init__(
        self, customer: Customer, others: Sequence[Customer], asker: Asker, history: History, rng: random.Random
    ) -> None:
        self.name = asker.name
        self.customer = customer
        self._others = others
        self._asker = asker
        self._history = history
        self._rng = rng

    async def run(self, stop: asyncio.Event, pause_s: float) -> None:
        """Ask until `stop` is set, and get the answer to the last question."""
        while not stop.is_set():
            await self.step()
            await asyncio.sleep(pause_s * self._rng.uniform(0.5, 1.5))
        self._asker.hang_up()

    async def step(self) -> None:
        """One request, or a few that belong together."""
        raise NotImplementedError

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def _transfer(self, *, refused_of_100: int = 8) -> Fields:
        too_much = self._rng.randrange(100) < refused_of_100
        return {
            "id": self._new_id(),
            "debit_account_id": self.customer.account_id,
            "credit_account_id": self._rng.choice(self._others).account_id,
            "amount": TOO_MUCH if too_much else self._rng.randint(1, LARGEST_AMOUNT),
        }

    def _posting(self, fields: Fields) -> Request:
        return request("POST", f"{API}/transactions", self.customer.token, {"transaction": fields})

    async def _post(self, fields: Fields, *, is_new: bool = True) -> Told | None:
        """Post one transfer, and note what was told of it; None if that was no answer to it."""
        asked = self._posting(fields)
        answer = await self._asker.ask(asked)
        if answer is None:
            return None
        told = _told(self.name, fields, answer, is_new=is_new)
        if told is None or (not is_new and answer.status == _CREATED):
            self._asker.wrong(asked, answer)
            return None
        self._history.told.append(told)
        return told

    async def _read_page(self) -> None:
        path = f"{API}/accounts/{self.customer.account_id}/history?limit={PAGE}"
        asked = request("GET", path, self.customer.token)
        answer = await self._asker.ask(asked)
        if answer is None:
            return
        if answer.status != _OK:
            self._asker.wrong(asked, answer)
            return
        entries = tuple((each["seq"], each["id"], each["balance"]) for each in answer.body["data"])
        times = answer.began_at, answer.ended_at
        seen = Page(self.name, self.customer.account_id, answer.body["as_of_seq"], *times, PAGE, entries)
        self._history.pages.append(seen)

    async def _read_balance(self) -> None:
        asked = request("GET", f"{API}/accounts", self.customer.token)
        answer = await self._asker.ask(asked)
        if answer is None:
            return
        if answer.status != _OK:
            self._asker.wrong(asked, answer)
            return
        for each in answer.body["data"]:
            times = answer.began_at, answer.ended_at
            seen = Balance(self.name, each["id"], answer.body["as_of_seq"], *times, each["balance"])
            self._history.balances.append(seen)


def _told(client: str, fields: Fields, answer: Answer, *, is_new: bool) -> Told | None:
    times = answer.began_at, answer.ended_at
    names = ("debit_account_id", "credit_account_id", "amount")
    if answer.status == _REFUSED and answer.body["code"] != "invalid_fields":
        debit, credit, amount = (fields.get(name, "") for name in names)
        refusal = answer.body["code"]
        return Told(client, fields["id"], debit, credit, amount, *times, refusal=refusal, is_new=is_new)
    if answer.status not in (_OK, _CREATED):
        return None
    made = answer.body["data"]
    if any(made[name] != value for name, value in fields.items() if name in (*names, "id", "kind", "pending_id")):
        return None
    return _made(client, made, answer, is_new=is_new)


def _made(client: str, made: Fields, answer: Answer, *, is_new: bool) -> Told:
    parties = made["debit_account_id"], made["credit_account_id"]
    times = answer.began_at, answer.ended_at
    place = made["seq"], made["block"]
    return Told(client, made["id"], *parties, made["amount"], *times, *place, is_new=is_new)


class Payer(Client):
    """See the module."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._answered: deque[Fields] = deque(maxlen=_REMEMBERED)

    async def step(self) -> None:
        chance = self._rng.random()
        if chance < 0.08 and self._answered:
            await self._post(self._rng.choice(self._answered), is_new=False)
        elif chance < 0.16:
            await self._read_page()
        else:
            fields = self._transfer()
            if await self._post(fields) is not None:
                self._answered.append(fields)

    async def ask_again(self) -> None:
        """Ask once more for all that is remembered: every answer must be the first one."""
        for fields in self._answered:
            await self._post(fields, is_new=False)
        self._asker.hang_up()


class Batcher(Client):
    """See the module."""

    async def step(self) -> None:
        count, atomic = self._rng.randint(2, LARGEST_BATCH), self._rng.random() < 0.3
        # Of atomic ones some are refused, as a whole.
        refused = 2 if atomic else 8
        batch = [self._transfer(refused_of_100=refused) for _ in range(count)]
        body = {"transactions": batch, "atomic": atomic}
        asked = request("POST", f"{API}/transactions/batch", self.customer.token, body)
        for is_new in (True, False) if self._rng.random() < 0.1 else (True,):
            answer = await self._asker.ask(asked)
            if answer is None:
                return
            if answer.status == _OK:
                results = answer.body["data"]["results"]
            elif answer.status == _REFUSED and atomic:
                results = answer.body["results"]
            else:
                self._asker.wrong(asked, answer)
                return
            if [each["id"] for each in results] != [fields["id"] for fields in batch]:
                self._asker.wrong(asked, answer)
                return
            for fields, result in zip(batch, results, strict=True):
                asked_for = fields["id"], fields["debit_account_id"], fields["credit_account_id"], fields["amount"]
                place = result.get("seq"), result.get("block"), result.get("code")
                told = Told(self.name, *asked_for, answer.began_at, answer.ended_at, *place, is_new=is_new)
                self._history.told.append(told)


class Reserver(Client):
    """See the module."""

    async def step(self) -> None:
        timeout_s = self._rng.choice((0, 1, 3600))
        fields = {**self._transfer(refused_of_100=3), "kind": "pending", "timeout_s": timeout_s}
        told = await self._post(fields)
        if told is None or told.refusal is not None or timeout_s == 1:
            return
        kind = self._rng.choice(("post_pending", "void_pending"))
        resolving: Fields = {"id": self._new_id(), "kind": kind, "pending_id": fields["id"]}
        if kind == "post_pending":
            resolving["amount"] = self._rng.randint(1, fields["amount"])
        await self._post(resolving)
        await self._read_balance()


class Buyer(Client):
    """See the module; `product_id` is what is bought."""

    product_id: str

    async def step(self) -> None:
        path, body = f"{API}/products/{self.product_id}/purchases", {"purchase": {"quantity": self._rng.randint(1, 3)}}
        asked = request("POST", path, self.customer.token, body, key=self._new_id())
        for is_new in (True, False) if self._rng.random() < 0.1 else (True,):
            answer = await self._asker.ask(asked)
            if answer is None:
                return
            if answer.status not in (_OK, _CREATED):
                self._asker.wrong(asked, answer)
                return
            for made in (answer.body["data"]["payment"], answer.body["data"]["units"]):
                self._history.told.append(_made(self.name, made, answer, is_new=is_new))


class Reader(Client):
    """See the module."""

    async def step(self) -> None:
        await (self._read_page() if self._rng.random() < 0.6 else self._read_balance())


class Auditor(Client):
    """See the module; its customer is the admin."""

    async def step(self) -> None:
        asked = request("GET", f"{API}/ledger/trial-balance", self.customer.token)
        answer = await self._asker.ask(asked)
        if answer is None:
            return
        if answer.status != _OK:
            self._asker.wrong(asked, answer)
            return
        body = answer.body
        posted = tuple((each["asset"], each["debits_posted"], each["credits_posted"]) for each in body["data"])
        pending = tuple((each["asset"], each["debits_pending"], each["credits_pending"]) for each in body["data"])
        seen = Trial(self.name, body["as_of_seq"], answer.began_at, answer.ended_at, body["balanced"], posted, pending)
        self._history.trials.append(seen)

"""What is asked: the kinds of load, as requests for whoever serves the API's paths.

Every contestant has as many users and accounts, and is asked the same: the random choices are those of one seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import orjson

from bench.requests import Request, get, post

#: In a file; the generators take them in random order.
REQUESTS: Final = 8_192
BATCHES: Final = 40
HISTORY_PAGE: Final = 20
TRANSFERS: Final = "/api/v1/transactions"
_SEED: Final = 20
_AMOUNTS: Final = (1, 999)


@dataclass(frozen=True, slots=True)
class Shape:
    """How many users with how many accounts each, and how many transfers are there before the first request."""

    users: int = 50
    accounts_each: int = 20
    transfers: int = 20_000

    @property
    def accounts(self) -> int:
        """All of them."""
        return self.users * self.accounts_each


@dataclass(frozen=True, slots=True)
class Holder:
    """A user who is logged in, and the user's accounts."""

    token: str
    accounts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Population:
    """Who may ask for what; `transfers` are some that were posted, with the tokens of those who did."""

    holders: list[Holder]
    transfers: Sequence[tuple[str, str]]

    def owned(self) -> list[tuple[str, str]]:
        """Every account with the token of its owner."""
        return [(holder.token, account) for holder in self.holders for account in holder.accounts]


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of load.

    `transfers` is how many a request with a key posts; `writes` says whether all requests, none or some have one.
    """

    name: str
    title: str
    requests: Callable[[Population, random.Random], list[Request]]
    transfers: int = 1
    writes: bool | None = True

    def for_population(self, population: Population) -> list[Request]:
        """Its requests."""
        return self.requests(population, random.Random(_SEED))


def history_of_pairs(shape: Shape) -> list[tuple[int, int, int]]:
    """The transfers that are there from the start: the numbers of two accounts, and the amount.

    They go through all accounts in a random order, again and again, so that each has as long a history.
    """
    rng, order = random.Random(_SEED), list(range(shape.accounts))
    found: list[tuple[int, int, int]] = []
    while len(found) < shape.transfers:
        rng.shuffle(order)
        found += [(debit, credit, rng.randint(*_AMOUNTS)) for debit, credit in pairwise([*order, order[0]])]
    return found[: shape.transfers]


def _transfer(debit: tuple[str, str], credit: str, rng: random.Random) -> Request:
    token, account = debit
    fields = {"debit_account_id": account, "credit_account_id": credit, "amount": rng.randint(*_AMOUNTS)}
    return post(TRANSFERS, token, orjson.dumps({"transaction": fields}))


def _transfers(population: Population, rng: random.Random, count: int = REQUESTS) -> list[Request]:
    pairs = (rng.sample(population.owned(), 2) for _ in range(count))
    return [_transfer(debit, credit, rng) for debit, (_, credit) in pairs]


def _hot(population: Population, rng: random.Random) -> list[Request]:
    """Of each four one debits the hot account and one credits it."""
    hot, *others = population.owned()
    found = []
    for number in range(REQUESTS):
        debit, credit = rng.sample(others, 2)
        debit, credit = {0: (hot, credit), 1: (debit, hot)}.get(number % 4, (debit, credit))
        found.append(_transfer(debit, credit[1], rng))
    return found


def _batches(size: int) -> Callable[[Population, random.Random], list[Request]]:
    def make(population: Population, rng: random.Random) -> list[Request]:
        everybody = [account for _, account in population.owned()]
        return [_batch(holder, everybody, rng) for holder in (population.holders * BATCHES)[:BATCHES]]

    def _batch(holder: Holder, everybody: Sequence[str], rng: random.Random) -> Request:
        items: list[dict[str, str | int]] = []
        while len(items) < size:
            debit, credit = rng.choice(holder.accounts), rng.choice(everybody)
            if debit != credit:
                amount = rng.randint(*_AMOUNTS)
                items.append({"debit_account_id": debit, "credit_account_id": credit, "amount": amount})
        return post(f"{TRANSFERS}/batch", holder.token, orjson.dumps({"transactions": items}))

    return make


def _shows(population: Population, rng: random.Random, count: int = REQUESTS) -> list[Request]:
    chosen = (rng.choice(population.transfers) for _ in range(count))
    return [get(f"{TRANSFERS}/{transfer_id}", token) for token, transfer_id in chosen]


def _histories(population: Population, rng: random.Random, count: int = REQUESTS) -> list[Request]:
    chosen = (rng.choice(population.owned()) for _ in range(count))
    return [get(f"/api/v1/accounts/{account}/history?limit={HISTORY_PAGE}", token) for token, account in chosen]


def _mixed(population: Population, rng: random.Random) -> list[Request]:
    tenth = REQUESTS // 10
    return [
        *_transfers(population, rng, 2 * tenth),
        *_shows(population, rng, 6 * tenth),
        *_histories(population, rng, 2 * tenth),
    ]


WORKLOADS: Final = {
    workload.name: workload
    for workload in (
        Workload("transfer", "one transfer per request", _transfers),
        Workload("hot", "half of all transfers touch one account", _hot),
        Workload("batch of 100", "batches of 100 transfers", _batches(100), transfers=100),
        Workload("batch of 1,000", "batches of 1,000 transfers", _batches(1_000), transfers=1_000),
        Workload("show", "a transfer by its id", _shows, transfers=0, writes=False),
        Workload("history", f"a page of {HISTORY_PAGE} of an account's history", _histories, transfers=0, writes=False),
        Workload("mixed", "two transfers, six reads by id, two pages of history", _mixed, writes=None),
    )
}

"""A partition with one user whose actor raises on every message until it has done so CRASHES times."""

from __future__ import annotations

from typing import ClassVar

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.transactions.partition import Partition, User
from bitnexus.actors.transactions.user import Incoming, Outgoing, TransactionActor
from bitnexus.storage.user_limits import UserState
from bitnexus.supervision.dynamic_flags import Budget

PARTITION_CLASS = "tests.integration.poison:PoisonPartition"
POISON_USER = "00000000-0000-4000-8000-00000000dead"
#: As many as the budget allows, and the one too many, twice.
CRASHES = 2 * (3 + 1)
QUARANTINE_S = 1.0


class PoisonActor(TransactionActor[Context]):
    """Raises on every message."""

    __slots__ = ("partition",)

    partition: PoisonPartition

    def receive(self, message: Incoming, context: Context) -> Outgoing:
        self.partition.crashes += 1
        raise RuntimeError(f"poisoned by {type(message).__name__}")


class PoisonPartition(Partition):
    """The real partition, but for the actor of one user."""

    budget: ClassVar[Budget] = Budget(restarts=3, period_s=60, quarantine_s=QUARANTINE_S)
    crashes = 0

    def make(self, key: str, state: UserState | None) -> User:
        if key != POISON_USER or self.crashes >= CRASHES:
            return super().make(key, state)
        actor = PoisonActor(key, (), max_in_flight=1, clock=lambda: 0)
        actor.partition = self
        return actor

"""Users stay where they are: the hash is the same in every process and version."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from bitnexus.actors.transactions.partitioning import partition_name, partition_of


def test_the_hash_of_a_user_never_changes() -> None:
    assert partition_of("7f3c0d4e-0000-4000-8000-000000000000", 1 << 32) == 3508264205


def test_users_are_spread_evenly() -> None:
    found = Counter(partition_of(str(UUID(int=n * 7919)), 4) for n in range(4000))
    assert set(found) == {0, 1, 2, 3}
    assert min(found.values()) > 850


def test_partitions_have_the_names_of_the_tree() -> None:
    assert partition_name(0) == "transactions-0"

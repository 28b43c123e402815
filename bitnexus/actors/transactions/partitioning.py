"""Which partition owns a user: a stable hash, the same in every process, version and run. Pure."""

from __future__ import annotations

from functools import lru_cache
from zlib import crc32


def partition_of(user_id: str, partitions: int) -> int:
    """The number, 0 … `partitions` - 1, of the partition that hosts this user's transaction actor."""
    return crc32(user_id.encode()) % partitions


@lru_cache(maxsize=1024)
def partition_name(number: int) -> str:
    """The name under which partition `number` is registered."""
    return f"transactions-{number}"

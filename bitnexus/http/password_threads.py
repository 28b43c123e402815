"""Password hashing off the loop: a few threads, a short queue, and refusal beyond it.

argon2 releases the interpreter while it works, so the loop goes on; but each hash takes 19 MiB and tens of milliseconds
of a core that transfers want too, so how many run at once is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from bitnexus.errors import Overloaded
from bitnexus.passwords import hash_password, verify_password

THREADS: Final = 1
MAX_WAITING: Final = 32

T = TypeVar("T")


class PasswordThreads:
    """Hashes and verifies passwords; at most `max_waiting` at a time are accepted."""

    def __init__(self, threads: int = THREADS, max_waiting: int = MAX_WAITING) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._free = max_waiting

    async def hash(self, password: str) -> str:
        """The hash of a new password.

        Raises:
            Overloaded: too many are waiting.
        """
        return await self._run(lambda: hash_password(password))

    async def verify(self, password: str, password_hash: str | None) -> tuple[bool, bool]:
        """Whether it fits, and whether to hash it anew; None (an unknown user) takes as long.

        Raises:
            Overloaded: too many are waiting.
        """
        return await self._run(lambda: verify_password(password, password_hash))

    def close(self) -> None:
        """Let go of the threads; what is waiting is not done."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._free == 0:
            raise Overloaded("Too many logins at once")
        self._free -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._free += 1

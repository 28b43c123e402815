"""PostgreSQL's notices of blocks: whoever listens hears of each as soon as it is committed, from whatever node.

The statement that writes a block sends its notice, so it costs no round trip and is sent if and only if the block is
committed. A notice is a hint: who was not connected has missed it, and has to look by itself now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import asyncpg

from bitnexus.errors import DatabaseUnavailable
from bitnexus.storage.database import CONNECT_TIMEOUT_S, application_name, reachable
from bitnexus.storage.ledger_block import NOTICES

#: How often a connection that says nothing is tried: one can be lost without a word.
PROBE_S: Final = 15.0


async def listen(url: str, process: str, on_block: Callable[[int], None]) -> None:
    """Call `on_block` with the log's size after each block, until the connection is lost.

    Raises:
        DatabaseUnavailable: the server cannot be reached, or the connection is lost.
    """
    lost = asyncio.Event()
    with reachable():
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=CONNECT_TIMEOUT_S,
            server_settings={"application_name": application_name(process)},
        )
        try:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(NOTICES, lambda *notice: on_block(int(notice[-1])))
            while not lost.is_set():
                try:
                    await asyncio.wait_for(lost.wait(), PROBE_S)
                except TimeoutError:
                    await connection.execute("SELECT 1")
        finally:
            connection.terminate()
    raise DatabaseUnavailable

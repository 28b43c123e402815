"""Signs the log's tree, and never one that does not extend the last it has signed.

The last checkpoint is kept in a file of the data directory, outside the database: so a database that was restored from
a backup, or changed behind the ledger's back, cannot make it sign a second history. The file is replaced before the
checkpoint is handed out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from bitnexus.actors.ledger.checkpoint import Checkpoint, NoteInvalid, Signer, parse
from bitnexus.actors.ledger.log import Head
from bitnexus.actors.ledger.proofs import ProofInvalid, verify_consistency
from bitnexus.errors import CheckpointRefused

FILE: Final = "ledger_checkpoint"

#: Gives the consistency proof between two sizes of the stored tree.
Prove = Callable[[int, int], Awaitable[list[bytes]]]
_log = structlog.get_logger(__name__)


class Notary:
    """The one who signs for a log; one at a time per data directory, as there is one ledger.

    Args:
        signer: the key.
        directory: where the last checkpoint is kept.
        prove: asked once, for the first tree after a start: those after it grow from it in memory.
    """

    def __init__(self, signer: Signer, directory: Path, prove: Prove) -> None:
        self._signer = signer
        self._path = directory / FILE
        self._prove = prove
        self._last: Checkpoint | None = None
        self._note = ""
        self._trusted = False
        self._turn = asyncio.Lock()

    async def checkpoint(self, head: Head) -> str:
        """A note for the tree of a committed block.

        Raises:
            CheckpointRefused: the tree does not extend the last one that was signed; says how to proceed.
            DatabaseUnavailable: that could not be found out now.
        """
        async with self._turn:
            size, root = head.tree.size, head.root
            if not self._trusted:
                self._last = await asyncio.to_thread(self._read)
                await self._compare(size, root)
                self._trusted = True
            if not self._note or self._last is None or self._last.size < size:
                note = self._signer.sign(size, root)
                await asyncio.to_thread(self._write, note)
                self._note, self._last = note, parse(note)
            return self._note

    async def _compare(self, size: int, root: bytes) -> None:
        """Refuse a tree that does not extend the last one."""
        last = self._last
        if last is None or last.size == 0:
            _log.info("first_checkpoint", size=size)
            return
        if last.size > size:
            self._refuse(last, size, "is shorter")
        if last.size == size:
            if last.root != root:
                self._refuse(last, size, "is another")
            return
        try:
            verify_consistency(last.size, size, await self._prove(last.size, size), last.root, root)
        except ProofInvalid as error:
            _log.error("consistency_not_proved", reason=str(error))
            self._refuse(last, size, "does not extend it")

    def _refuse(self, last: Checkpoint, size: int, how: str) -> None:
        _log.error("checkpoint_refused", size=size, signed_size=last.size, signed_root=last.root.hex(), file=self._path)
        raise CheckpointRefused(
            f"A tree of {last.size} events was signed; the database's, of {size}, {how}. Was it restored from a "
            "backup? Then restore the newer one. To give the signed history up: stop the service, take the file "
            f"{FILE} out of the data directory and keep it as evidence, tell everybody who follows the log, and start "
            "with a new key."
        )

    def _read(self) -> Checkpoint | None:
        try:
            return parse(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (NoteInvalid, UnicodeDecodeError) as error:
            raise CheckpointRefused(
                f"The file {FILE} of the data directory, with the last signed checkpoint, is damaged: restore it."
            ) from error

    def _write(self, note: str) -> None:
        """Replace the file, durably."""
        self._path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        draft = self._path.with_name(f".{FILE}.draft")
        with draft.open("w", encoding="utf-8") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

"""A secret that is made once and kept in a file that its owner alone may read (as Erlang's ``~/.erlang.cookie``)."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

#: Bytes of randomness in a secret made here; it is written as twice as many hexadecimal digits.
SECRET_BYTES = 32
#: Shortest content that is accepted from a file, in characters.
SHORTEST = 32
#: A secret file larger than this is not one, in bytes.
LONGEST = 4096


class UnsafeSecretFileError(ValueError):
    """The file cannot be trusted with a secret, or cannot be used; says why and what to do, never the content."""


def read_or_create(path: Path) -> str:
    """The secret kept in `path`, made (64 hexadecimal digits, mode 0600) if the file does not exist.

    Several processes may do this at once: all get the same secret, since the file appears complete or not at all.

    Raises:
        UnsafeSecretFileError: others may read or write the file, it belongs to another user, it is no regular
            file, its content is too short or too long, or the directory cannot be written.
    """
    try:
        try:
            return read(path)
        except FileNotFoundError:
            _create(path)
            return read(path)
    except OSError as error:
        message = f"{path} cannot be used: {error.strerror or error}"
        raise UnsafeSecretFileError(message) from error


def read(path: Path) -> str:
    """The secret kept in `path`.

    Raises:
        UnsafeSecretFileError: as read_or_create.
        OSError: it is not there, or may not be read.
    """
    # Judge the opened file, not its name, so that what was checked is what is read; a FIFO must not block us.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            message = f"{path} is not a regular file"
            raise UnsafeSecretFileError(message)
        if status.st_uid not in {os.geteuid(), 0}:
            message = f"{path} belongs to another user (uid {status.st_uid})"
            raise UnsafeSecretFileError(message)
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            message = f"{path} can be read or written by others (mode {mode:04o}): make a new one, or chmod 600 it"
            raise UnsafeSecretFileError(message)
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        message = f"{path} is larger than {LONGEST} bytes"
        raise UnsafeSecretFileError(message)
    try:
        secret = content.decode("ascii").strip()
    except UnicodeDecodeError:
        message = f"{path} does not hold plain text"
        raise UnsafeSecretFileError(message) from None
    if len(secret) < SHORTEST:
        message = f"{path} holds fewer than {SHORTEST} characters: delete it to have a new one made"
        raise UnsafeSecretFileError(message)
    return secret


def _create(path: Path) -> None:
    # Others may pass through (the embedded PostgreSQL may run as a user of its own), but not look around.
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(descriptor)
        try:
            # A link, unlike a rename, never replaces the file of a process that was faster.
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()

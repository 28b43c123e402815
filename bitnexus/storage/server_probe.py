"""Whether a PostgreSQL server takes sessions: the opening of the protocol, spoken over its unix socket, blocking.

For the owner of the embedded server, which has no event loop when it starts it. Message formats: chapter "Frontend/
Backend Protocol" of the PostgreSQL manual.
"""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path

_PROTOCOL_3_0 = 196608
#: A message's length counts these four bytes, but not the byte before that tells its kind.
_LENGTH_BYTES = 4
_MAX_MESSAGE_BYTES = 65536


def accepts_sessions(path: Path, *, user: str, database: str, timeout_s: float) -> bool:
    """True if a session reaches ReadyForQuery within `timeout_s` (seconds); it is closed again at once."""
    deadline = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(_startup(user, database))
            while True:
                kind, length = struct.unpack("!cI", _read(connection, 1 + _LENGTH_BYTES, deadline))
                if kind == b"E" or not _LENGTH_BYTES <= length <= _MAX_MESSAGE_BYTES:
                    return False
                _read(connection, length - _LENGTH_BYTES, deadline)
                if kind == b"Z":
                    connection.sendall(b"X\0\0\0\4")
                    return True
        except (OSError, EOFError):  # no socket yet, refused, too slow, or closed in the middle: not now
            return False


def _startup(user: str, database: str) -> bytes:
    fields = ("user", user, "database", database, "application_name", "bitnexus/health")
    body = struct.pack("!I", _PROTOCOL_3_0) + b"".join(field.encode() + b"\0" for field in fields) + b"\0"
    return struct.pack("!I", len(body) + _LENGTH_BYTES) + body


def _read(connection: socket.socket, length: int, deadline: float) -> bytes:
    received = b""
    while len(received) < length:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(length - len(received))
        if not part:
            raise EOFError
        received += part
    return received

"""The cookie handshake, sans-I/O: both ends prove that they know the node's cookie before anything else is read.

    listener → dialler   CHALLENGE  version, listener's nonce
    dialler  → listener  HELLO      version, dialler's nonce, dialler's listening address, HMAC(cookie, "dialler" …)
    listener → dialler   WELCOME    the listener's instance, HMAC(cookie, "listener" …)

Each proof is HMAC-SHA256 over its role, the version, both nonces and what its frame says, so that a proof can neither
be replayed on another connection nor reflected to its maker. Comparison takes constant time. The *instance* is a number
made at a process's start: it tells a restarted process from its predecessor when the system reuses a port.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from bitnexus.actors.runtime.frames import PROTOCOL_VERSION, FrameError

NONCE_SIZE = 32
PROOF_SIZE = 32
INSTANCE_SIZE = 8
#: A peer that dialled and has not finished its part of the handshake after this long is closed.
HANDSHAKE_TIMEOUT_S = 5.0
#: One whom we dialled is known to exist; it may be busy, as a process is that starts a hundred others.
DIAL_TIMEOUT_S = 30.0

_CHALLENGE = struct.Struct(f">3sH{NONCE_SIZE}s")
_MAGIC = b"BNX"


class HandshakeError(FrameError):
    """The peer could not prove that it knows the cookie, or speaks another version."""


def _proof(cookie: bytes, role: bytes, *parts: bytes) -> bytes:
    mac = hmac.new(cookie, role, hashlib.sha256)
    for part in parts:
        mac.update(struct.pack(">I", len(part)))
        mac.update(part)
    return mac.digest()


def _check_version(version: int) -> None:
    if version != PROTOCOL_VERSION:
        msg = f"peer speaks protocol version {version}, this node {PROTOCOL_VERSION}"
        raise HandshakeError(msg)


class Listener:
    """The accepting end. `nonce` must be fresh random bytes for every connection."""

    def __init__(self, cookie: bytes, nonce: bytes, instance: bytes) -> None:
        self._cookie = cookie
        self._nonce = nonce
        self._instance = instance

    def challenge(self) -> bytes:
        """Body of the CHALLENGE frame."""
        return _CHALLENGE.pack(_MAGIC, PROTOCOL_VERSION, self._nonce)

    def receive_hello(self, body: bytes) -> tuple[str, bytes]:
        """Check the HELLO; returns the dialler's address ("host:port") and the body of the WELCOME frame.

        Raises HandshakeError.
        """
        fixed = 2 + NONCE_SIZE + PROOF_SIZE
        if len(body) < fixed:
            raise HandshakeError("short hello")
        (version,) = struct.unpack_from(">H", body)
        _check_version(version)
        nonce = body[2 : 2 + NONCE_SIZE]
        proof = body[2 + NONCE_SIZE : fixed]
        address = body[fixed:]
        expected = _proof(self._cookie, b"dialler", body[:2], self._nonce, nonce, address)
        if not hmac.compare_digest(proof, expected):
            raise HandshakeError("wrong cookie")
        welcome = _proof(self._cookie, b"listener", body[:2], self._nonce, nonce, self._instance)
        try:
            return address.decode("ascii"), self._instance + welcome
        except UnicodeDecodeError:
            raise HandshakeError("address is not ASCII") from None


class Dialler:
    """The connecting end. `nonce` must be fresh random bytes; `address` is where this process listens."""

    def __init__(self, cookie: bytes, nonce: bytes, address: str) -> None:
        self._cookie = cookie
        self._nonce = nonce
        self._address = address.encode("ascii")
        self._listener_nonce: bytes | None = None

    def receive_challenge(self, body: bytes) -> bytes:
        """Check the CHALLENGE; returns the body of the HELLO frame. Raises HandshakeError."""
        if len(body) != _CHALLENGE.size or self._listener_nonce is not None:
            raise HandshakeError("malformed challenge")
        magic, version, nonce = _CHALLENGE.unpack(body)
        if magic != _MAGIC:
            raise HandshakeError("not a BitNexus node")
        _check_version(version)
        self._listener_nonce = nonce
        head = struct.pack(">H", PROTOCOL_VERSION)
        proof = _proof(self._cookie, b"dialler", head, nonce, self._nonce, self._address)
        return head + self._nonce + proof + self._address

    def receive_welcome(self, body: bytes) -> bytes:
        """Check the WELCOME; returns the listener's instance. Raises HandshakeError."""
        if self._listener_nonce is None or len(body) != INSTANCE_SIZE + PROOF_SIZE:
            raise HandshakeError("malformed welcome")
        instance, proof = body[:INSTANCE_SIZE], body[INSTANCE_SIZE:]
        head = struct.pack(">H", PROTOCOL_VERSION)
        expected = _proof(self._cookie, b"listener", head, self._listener_nonce, self._nonce, instance)
        if not hmac.compare_digest(proof, expected):
            raise HandshakeError("the listener does not know the cookie")
        return instance

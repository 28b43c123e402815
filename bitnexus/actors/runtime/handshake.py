"""The handshake, sans-I/O: both ends prove who they are before anything else is read.

    listener → dialler   CHALLENGE  version, listener's nonce
    dialler  → listener  HELLO      version, role, dialler's nonce, proof, and by role:
                                    PROCESS: its listening address
                                    CLIENT:  nothing, or a proof of its access token and the token without its signature
    listener → dialler   WELCOME    the listener's instance, proof
                         REFUSED    to a client that knows the cookie: the code of an error, a line feed, its detail

A *process* proves the secret of this very start of the node, which its processes inherit by fork and nobody else has.
A *client* proves the node's cookie. Each proof is HMAC-SHA256 over its maker's part in the talk, version and role, both
nonces and what its frame says, so that it can neither be replayed on another connection nor reflected to its maker.
Between processes it covers the address that was dialled as well: nobody who took a dead process's port can pass the
talk on to a living one.

An access token is itself never sent: its signature is the key of one more proof, which the node can check because it
can sign what was sent. The listener's proof to that client needs the same signature. So whoever knows the cookie, and
listens where the node should, learns no token, and cannot pass for the node.

Comparison takes constant time. The *instance* is a number made at a process's start: it tells a restarted process from
its predecessor when the system reuses a port.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import struct
from dataclasses import dataclass, field

from bitnexus.actors.runtime.frames import PROTOCOL_VERSION, FrameError

NONCE_SIZE = 32
PROOF_SIZE = 32
INSTANCE_SIZE = 8
#: A peer that dialled and has not finished its part of the handshake after this long is closed.
HANDSHAKE_TIMEOUT_S = 5.0
#: One whom we dialled is known to exist; it may be busy, as a process is that starts a hundred others.
DIAL_TIMEOUT_S = 30.0

_CHALLENGE = struct.Struct(f">3sH{NONCE_SIZE}s")
_HEAD = struct.Struct(">HB")
_HELLO_SIZE = _HEAD.size + NONCE_SIZE + PROOF_SIZE
_MAGIC = b"BNX"


class HandshakeError(FrameError):
    """The peer could not prove who it is, or speaks another version."""


class Role(enum.IntEnum):
    """As what a dialler comes."""

    PROCESS = 1
    CLIENT = 2


@dataclass(frozen=True, slots=True)
class Keys:
    """What proofs are made with; without a key for processes one is a client and nothing else."""

    client: bytes = field(repr=False)
    process: bytes | None = field(default=None, repr=False)

    @classmethod
    def derive(cls, cookie: bytes, secret: bytes | None = None) -> Keys:
        """The keys of a process of the node that was started with `secret`, else those of a client."""
        process = None if secret is None else hmac.digest(cookie, b"process" + secret, "sha256")
        return cls(hmac.digest(cookie, b"client", "sha256"), process)

    def of(self, role: Role) -> bytes:
        """The key for proofs of and to a dialler of that role."""
        if role is Role.CLIENT:
            return self.client
        if self.process is None:
            raise HandshakeError("wrong cookie: this is no process of the node")
        return self.process


@dataclass(frozen=True, slots=True)
class Hello:
    """What a dialler said that has proved its role; its `token` is one without the signature, and not proved yet."""

    role: Role
    address: str = ""
    token: str = field(default="", repr=False)


def _proof(key: bytes, part: bytes, *said: bytes) -> bytes:
    mac = hmac.new(key, part, hashlib.sha256)
    for each in said:
        mac.update(struct.pack(">I", len(each)))
        mac.update(each)
    return mac.digest()


def _check_version(version: int) -> None:
    if version != PROTOCOL_VERSION:
        msg = f"peer speaks protocol version {version}, this node {PROTOCOL_VERSION}"
        raise HandshakeError(msg)


def _split(token: str) -> tuple[str, bytes]:
    """An access token (a JWT) as what it says and its signature."""
    said, _, signature = token.rpartition(".")
    return said, signature.encode("ascii")


class Listener:
    """The accepting end. `nonce` must be fresh random bytes for every connection; `at` is its address ("host:port")."""

    def __init__(self, keys: Keys, nonce: bytes, instance: bytes, at: str = "") -> None:
        self._keys = keys
        self._nonce = nonce
        self._instance = instance
        self._at = at.encode("ascii")
        self._talk: tuple[bytes, ...] = ()
        self._role = Role.CLIENT
        self._token_proof = b""
        self._signature = b""

    def challenge(self) -> bytes:
        """Body of the CHALLENGE frame."""
        return _CHALLENGE.pack(_MAGIC, PROTOCOL_VERSION, self._nonce)

    def receive_hello(self, body: bytes) -> Hello:
        """Check the HELLO. Raises HandshakeError. A token in it must be checked (`check_token`) before the WELCOME."""
        if len(body) < _HELLO_SIZE or self._talk:
            raise HandshakeError("malformed hello")
        version, number = _HEAD.unpack_from(body)
        _check_version(version)
        try:
            self._role = role = Role(number)
        except ValueError:
            raise HandshakeError(f"unknown role {number}") from None
        nonce, proof = body[_HEAD.size : _HEAD.size + NONCE_SIZE], body[_HEAD.size + NONCE_SIZE : _HELLO_SIZE]
        rest = body[_HELLO_SIZE:]
        self._talk = (body[: _HEAD.size], self._at if role is Role.PROCESS else b"", self._nonce, nonce)
        if not hmac.compare_digest(proof, _proof(self._keys.of(role), b"dialler", *self._talk, rest)):
            raise HandshakeError("wrong cookie, or no process of this node")
        try:
            if role is Role.PROCESS:
                return Hello(role, address=rest.decode("ascii"))
            if rest and len(rest) <= PROOF_SIZE:
                raise HandshakeError("malformed hello")
            self._token_proof = rest[:PROOF_SIZE]
            return Hello(role, token=rest[PROOF_SIZE:].decode("ascii"))
        except UnicodeDecodeError:
            raise HandshakeError("an address or token is not ASCII") from None

    def check_token(self, token: str) -> None:
        """Check that the client has the signature of `token`: the one it named, signed. Raises HandshakeError."""
        said, self._signature = _split(token)
        if not hmac.compare_digest(self._token_proof, _proof(self._signature, b"token", *self._talk, said.encode())):
            raise HandshakeError("wrong access token")

    def welcome(self) -> bytes:
        """Body of the WELCOME frame."""
        vouch = _proof(self._signature, b"signer", *self._talk) if self._signature else b""
        return self._instance + _proof(self._keys.of(self._role), b"listener", *self._talk, self._instance, vouch)


class Dialler:
    """The connecting end.

    `nonce` must be fresh random bytes. A process gives the `address` where it listens and the one it dialled (`to`); a
    client may give its access token. Raises HandshakeError for what is no access token.
    """

    def __init__(self, keys: Keys, nonce: bytes, address: str = "", to: str = "", *, token: str = "") -> None:
        self._role = Role.CLIENT if keys.process is None else Role.PROCESS
        self._key = keys.of(self._role)
        self._nonce = nonce
        self._address = address.encode("ascii")
        self._to = to.encode("ascii") if self._role is Role.PROCESS else b""
        try:
            self._said, self._signature = _split(token)
        except UnicodeEncodeError:
            raise HandshakeError("the access token is not ASCII") from None
        self._talk: tuple[bytes, ...] = ()

    def receive_challenge(self, body: bytes) -> bytes:
        """Check the CHALLENGE; returns the body of the HELLO frame. Raises HandshakeError."""
        if len(body) != _CHALLENGE.size or self._talk:
            raise HandshakeError("malformed challenge")
        magic, version, nonce = _CHALLENGE.unpack(body)
        if magic != _MAGIC:
            raise HandshakeError("not a BitNexus node")
        _check_version(version)
        head = _HEAD.pack(PROTOCOL_VERSION, self._role)
        self._talk = (head, self._to, nonce, self._nonce)
        if self._role is Role.PROCESS:
            rest = self._address
        elif self._signature:
            said = self._said.encode("ascii")
            rest = _proof(self._signature, b"token", *self._talk, said) + said
        else:
            rest = b""
        return head + self._nonce + _proof(self._key, b"dialler", *self._talk, rest) + rest

    def receive_welcome(self, body: bytes) -> bytes:
        """Check the WELCOME; returns the listener's instance. Raises HandshakeError."""
        if not self._talk or len(body) != INSTANCE_SIZE + PROOF_SIZE:
            raise HandshakeError("malformed welcome")
        instance, proof = body[:INSTANCE_SIZE], body[INSTANCE_SIZE:]
        vouch = _proof(self._signature, b"signer", *self._talk) if self._signature else b""
        if not hmac.compare_digest(proof, _proof(self._key, b"listener", *self._talk, instance, vouch)):
            raise HandshakeError("the listener does not know the cookie")
        return instance

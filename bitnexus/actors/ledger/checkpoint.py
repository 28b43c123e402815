"""Checkpoints: the size and root of the log's tree as a signed note (C2SP tlog-checkpoint, signed-note). Pure.

    <origin>
    <size>
    <root, base64>

    — <origin> <base64 of 4 bytes of key id and 64 bytes of Ed25519 signature>

What is signed is the text up to and with the line break before the empty line. The key id is the start of
``SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)``; the verifier key, which outsiders are given, is
``name+<key id, 8 hex digits>+<base64 of 0x01 ‖ public key>``.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bitnexus.actors.ledger.log import HASH_BYTES

_ED25519: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_DASH: Final = "— "
#: A note larger than this is not one of ours, in characters.
LONGEST_NOTE: Final = 4_096


class NoteInvalid(ValueError):
    """The text is no checkpoint, or not signed by the key; says why."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree that was signed."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


class Signer:
    """The log's key. `seed` is the Ed25519 private key, 32 bytes; `name` is the log's origin."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    def sign(self, size: int, root: bytes) -> str:
        """The note for a tree."""
        name = self.verifier.name
        text = Checkpoint(name, size, root).text()
        signature = b64encode(self.verifier.key_id + self._key.sign(text.encode())).decode()
        return f"{text}\n{_DASH}{name} {signature}\n"


class Verifier:
    """The public key of a log, under its name."""

    def __init__(self, name: str, public_key: bytes) -> None:
        if not name or "+" in name or any(character.isspace() for character in name):
            raise NoteInvalid("a log's name has no spaces and no plus sign")
        self.name = name
        self.public_key = public_key
        self.key_id = sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:_KEY_ID_BYTES]

    @property
    def text(self) -> str:
        """The verifier key."""
        return f"{self.name}+{self.key_id.hex()}+{b64encode(_ED25519 + self.public_key).decode()}"

    @classmethod
    def from_text(cls, text: str) -> Verifier:
        """The verifier of such a text.

        Raises:
            NoteInvalid: it is none.
        """
        try:
            name, key_id, key = text.strip().split("+", 2)
            raw = b64decode(key, validate=True)
        except ValueError as error:
            raise NoteInvalid("not a verifier key") from error
        if len(raw) != 1 + HASH_BYTES or raw[:1] != _ED25519:
            raise NoteInvalid("not an Ed25519 verifier key")
        verifier = cls(name, raw[1:])
        if verifier.key_id.hex() != key_id:
            raise NoteInvalid("the verifier key's id does not fit")
        return verifier

    def verify(self, note: str) -> Checkpoint:
        """The checkpoint, if this key has signed it.

        Raises:
            NoteInvalid: it has not.
        """
        checkpoint = parse(note)
        if checkpoint.origin != self.name:
            raise NoteInvalid("the checkpoint is of another log")
        text, _, signatures = note.partition("\n\n")
        for line in signatures.splitlines():
            name, _, signature = line.removeprefix(_DASH).partition(" ")
            try:
                raw = b64decode(signature, validate=True)
            except ValueError as error:
                raise NoteInvalid("a signature is not base64") from error
            if name != self.name or raw[:_KEY_ID_BYTES] != self.key_id:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(self.public_key).verify(raw[_KEY_ID_BYTES:], f"{text}\n".encode())
            except InvalidSignature as error:
                raise NoteInvalid("the signature is wrong") from error
            return checkpoint
        raise NoteInvalid("the key has not signed it")


def parse(note: str) -> Checkpoint:
    """What a note says, whoever has signed it.

    Raises:
        NoteInvalid: it is no checkpoint.
    """
    text, gap, signatures = note.partition("\n\n")
    lines = text.split("\n")
    if len(note) > LONGEST_NOTE or not gap or not signatures.endswith("\n") or not signatures.startswith(_DASH):
        raise NoteInvalid("not a signed note")
    try:
        origin, size, root = lines
        checkpoint = Checkpoint(origin, int(size), b64decode(root, validate=True))
    except ValueError as error:
        raise NoteInvalid("not a checkpoint") from error
    if checkpoint.size < 0 or len(checkpoint.root) != HASH_BYTES or checkpoint.text() != f"{text}\n":
        raise NoteInvalid("not a checkpoint in its one form")
    return checkpoint


def tlog_proof(leaf: bytes, index: int, proof: Sequence[bytes], note: str) -> str:
    """The proof that `leaf` is in the tree of this note, as one text (C2SP tlog-proof) that is verified offline.

    Its extra data is the leaf: whoever verifies it needs no more than the log's key.
    """
    hashes = "".join(f"{b64encode(each).decode()}\n" for each in proof)
    return f"c2sp.org/tlog-proof@v1\nextra {b64encode(leaf).decode()}\nindex {index}\n{hashes}\n{note}"

"""Checkpoints are C2SP signed notes: `cryptography` alone verifies them, and nothing altered passes."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bitnexus.actors.ledger.checkpoint import Checkpoint, NoteInvalid, Signer, Verifier, parse

SIGNER = Signer("bitnexus.example/ledger", bytes(range(32)))
ROOT = sha256(b"root").digest()
NOTE = SIGNER.sign(20_852_163, ROOT)


def test_a_note_is_verified_with_nothing_but_cryptography_and_the_published_format():
    name, key_id, key = SIGNER.verifier.text.split("+", 2)
    public = b64decode(key)
    assert public[:1] == b"\x01"
    assert sha256(name.encode() + b"\n" + public).digest()[:4].hex() == key_id
    text, signature = NOTE.split("\n\n")
    assert text.split("\n") == [name, "20852163", b64encode(ROOT).decode()]
    dash, signer, blob = signature.removesuffix("\n").split(" ")
    assert (dash, signer, b64decode(blob)[:4].hex()) == ("\u2014", name, key_id)
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(b64decode(blob)[4:], (text + "\n").encode())


def test_a_verifier_key_of_another_implementation_is_read():
    # The key of the checksum database of Go's modules.
    text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert Verifier.from_text(text).text == text


def test_a_verifier_accepts_what_its_key_has_signed():
    verifier = Verifier.from_text(SIGNER.verifier.text)
    assert verifier.verify(NOTE) == Checkpoint("bitnexus.example/ledger", 20_852_163, ROOT)
    cosigned = NOTE + Signer("witness.example", bytes(32)).sign(1, ROOT).split("\n\n")[1]
    assert verifier.verify(cosigned).size == 20_852_163


@pytest.mark.parametrize("at", range(len(NOTE)))
def test_a_note_with_any_character_altered_is_refused(at):
    with pytest.raises(NoteInvalid):
        SIGNER.verifier.verify(NOTE[:at] + ("x" if NOTE[at] != "x" else "y") + NOTE[at + 1 :])


@pytest.mark.parametrize(
    "note",
    [
        "",
        "a\n1\n\n",
        NOTE[:-1],
        NOTE.replace("20852163", "020852163"),
        NOTE.replace("20852163", "-1"),
        NOTE + "x" * 5_000,
    ],
)
def test_what_is_no_checkpoint_in_its_one_form_is_refused(note):
    with pytest.raises(NoteInvalid):
        parse(note)


@pytest.mark.parametrize("key", ["", "a+b", "a+00000000+AAAA", SIGNER.verifier.text.replace("+", "+0", 1)])
def test_what_is_no_verifier_key_is_refused(key):
    with pytest.raises(NoteInvalid):
        Verifier.from_text(key)


def test_another_key_s_note_of_the_same_name_is_refused():
    with pytest.raises(NoteInvalid):
        SIGNER.verifier.verify(Signer("bitnexus.example/ledger", bytes(32)).sign(1, ROOT))

"""Nobody gets through the handshake without the cookie, whatever was overheard before."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.actors.runtime.frames import PROTOCOL_VERSION
from bitnexus.actors.runtime.handshake import (
    INSTANCE_SIZE,
    NONCE_SIZE,
    PROOF_SIZE,
    Dialler,
    HandshakeError,
    Keys,
    Listener,
    Role,
)

COOKIE = b"c" * 32
INSTANCE = b"12345678"
ADDRESS = "127.0.0.1:4711"
SECRET = b"s" * 32
HEAD_SIZE = 3  # version and role
TOKEN = "header.payload.signature"

nonces = st.binary(min_size=NONCE_SIZE, max_size=NONCE_SIZE)


def listener(cookie: bytes = COOKIE, nonce: bytes = b"l" * NONCE_SIZE) -> Listener:
    return Listener(Keys.derive(cookie, SECRET), nonce, INSTANCE)


def dialler(cookie: bytes = COOKIE, nonce: bytes = b"d" * NONCE_SIZE) -> Dialler:
    return Dialler(Keys.derive(cookie, SECRET), nonce, ADDRESS)


def client(cookie: bytes = COOKIE, nonce: bytes = b"d" * NONCE_SIZE, token: str = "") -> Dialler:
    return Dialler(Keys.derive(cookie), nonce, token=token)


def overheard_welcome() -> bytes:
    listening = listener()
    listening.receive_hello(dialler().receive_challenge(listening.challenge()))
    return listening.welcome()


@given(st.binary(min_size=1, max_size=64), nonces, nonces)
def test_two_that_know_the_cookie_learn_each_others_address_and_instance(cookie, one, two):
    listening, dialling = listener(cookie, one), dialler(cookie, two)
    hello = listening.receive_hello(dialling.receive_challenge(listening.challenge()))
    assert (hello.role, hello.address) == (Role.PROCESS, ADDRESS)
    assert dialling.receive_welcome(listening.welcome()) == INSTANCE


def test_a_dialler_with_another_cookie_is_refused():
    listening = listener()
    with pytest.raises(HandshakeError, match="wrong cookie"):
        listening.receive_hello(dialler(b"x" * 32).receive_challenge(listening.challenge()))


def test_a_listener_with_another_cookie_is_refused():
    false, dialling = listener(b"x" * 32), dialler()
    hello = dialling.receive_challenge(false.challenge())
    with pytest.raises(HandshakeError):
        false.receive_hello(hello)
    willing = listener(b"x" * 32)
    willing.receive_hello(dialler(b"x" * 32).receive_challenge(willing.challenge()))
    with pytest.raises(HandshakeError, match="does not know the cookie"):
        dialling.receive_welcome(willing.welcome())


@given(nonces.filter(lambda nonce: nonce != b"l" * NONCE_SIZE))
def test_a_hello_that_was_overheard_opens_no_other_connection(nonce):
    overheard = dialler().receive_challenge(listener().challenge())
    with pytest.raises(HandshakeError, match="wrong cookie"):
        listener(nonce=nonce).receive_hello(overheard)


@given(nonces.filter(lambda nonce: nonce != b"d" * NONCE_SIZE))
def test_a_welcome_that_was_overheard_deceives_no_other_dialler(nonce):
    other = dialler(nonce=nonce)
    other.receive_challenge(listener().challenge())
    with pytest.raises(HandshakeError, match="does not know the cookie"):
        other.receive_welcome(overheard_welcome())


def test_a_proof_cannot_be_reflected_to_its_maker():
    # Somebody without the cookie answers the dialler with the dialler's own proof.
    dialling = dialler()
    hello = dialling.receive_challenge(listener().challenge())
    proof = hello[HEAD_SIZE + NONCE_SIZE : HEAD_SIZE + NONCE_SIZE + PROOF_SIZE]
    with pytest.raises(HandshakeError):
        dialling.receive_welcome(INSTANCE + proof)


@given(st.integers(min_value=0))
def test_one_flipped_bit_of_a_hello_spoils_it(place):
    listening = listener()
    hello = bytearray(dialler().receive_challenge(listening.challenge()))
    place %= len(hello) * 8
    hello[place // 8] ^= 1 << place % 8
    with pytest.raises(HandshakeError):
        listening.receive_hello(bytes(hello))


@given(st.integers(min_value=0))
def test_one_flipped_bit_of_a_welcome_spoils_it(place):
    listening, dialling = listener(), dialler()
    listening.receive_hello(dialling.receive_challenge(listening.challenge()))
    welcome = bytearray(listening.welcome())
    place %= len(welcome) * 8
    welcome[place // 8] ^= 1 << place % 8
    with pytest.raises(HandshakeError):
        dialling.receive_welcome(bytes(welcome))


@given(st.binary(max_size=200))
def test_no_garbage_is_taken_for_a_hello_a_challenge_or_a_welcome(garbage):
    with pytest.raises(HandshakeError):
        listener().receive_hello(garbage)
    dialling = dialler()
    with pytest.raises(HandshakeError):
        dialling.receive_challenge(garbage)
    dialling.receive_challenge(listener().challenge())
    with pytest.raises(HandshakeError):
        dialling.receive_welcome(garbage)


@given(st.integers(min_value=0, max_value=HEAD_SIZE + NONCE_SIZE + PROOF_SIZE - 1))
def test_a_hello_that_is_cut_short_is_refused(size):
    listening = listener()
    with pytest.raises(HandshakeError):
        listening.receive_hello(dialler().receive_challenge(listening.challenge())[:size])


@given(st.integers(min_value=0, max_value=INSTANCE_SIZE + PROOF_SIZE - 1))
def test_a_welcome_that_is_cut_short_is_refused(size):
    listening, dialling = listener(), dialler()
    listening.receive_hello(dialling.receive_challenge(listening.challenge()))
    with pytest.raises(HandshakeError):
        dialling.receive_welcome(listening.welcome()[:size])


@given(st.integers(min_value=0, max_value=65535).filter(lambda version: version != PROTOCOL_VERSION))
def test_another_version_is_named_in_the_refusal(version):
    challenge = bytearray(listener().challenge())
    challenge[3:5] = struct.pack(">H", version)
    with pytest.raises(HandshakeError, match=f"version {version}"):
        dialler().receive_challenge(bytes(challenge))
    hello = struct.pack(">HB", version, Role.PROCESS) + bytes(NONCE_SIZE + PROOF_SIZE)
    with pytest.raises(HandshakeError, match=f"version {version}"):
        listener().receive_hello(hello)


def test_a_second_challenge_is_refused():
    dialling = dialler()
    dialling.receive_challenge(listener().challenge())
    with pytest.raises(HandshakeError):
        dialling.receive_challenge(listener().challenge())


def test_a_welcome_before_the_challenge_is_refused():
    with pytest.raises(HandshakeError):
        dialler().receive_welcome(bytes(INSTANCE_SIZE + PROOF_SIZE))


# -- processes and clients -----------------------------------------------------------------------------------


def test_whoever_knows_the_cookie_alone_is_no_process_of_the_node():
    listening = listener()
    posing = Dialler(Keys.derive(COOKIE, b"a secret of one's own"), b"d" * NONCE_SIZE, ADDRESS)
    with pytest.raises(HandshakeError, match="no process of this node"):
        listening.receive_hello(posing.receive_challenge(listening.challenge()))


def test_a_client_cannot_become_a_process_by_another_role_in_its_hello():
    listening = listener()
    hello = bytearray(client().receive_challenge(listening.challenge()))
    hello[HEAD_SIZE - 1] = Role.PROCESS
    with pytest.raises(HandshakeError):
        listening.receive_hello(bytes(hello))


def test_a_process_is_not_deceived_by_a_listener_that_knows_the_cookie_alone():
    dialling = dialler()
    posing = Listener(Keys.derive(COOKIE, b"a secret of one's own"), b"l" * NONCE_SIZE, INSTANCE)
    hello = dialling.receive_challenge(posing.challenge())
    with pytest.raises(HandshakeError):
        posing.receive_hello(hello)


def test_a_listener_that_is_itself_a_client_takes_no_process():
    only_client = Listener(Keys.derive(COOKIE), b"l" * NONCE_SIZE, INSTANCE)
    with pytest.raises(HandshakeError):
        only_client.receive_hello(dialler().receive_challenge(only_client.challenge()))


def test_the_talk_of_a_process_cannot_be_passed_on_to_another_one():
    # Somebody took the port of a dead process, and passes on every byte between the dialler and a living process.
    keys = Keys.derive(COOKIE, SECRET)
    dialling = Dialler(keys, b"d" * NONCE_SIZE, ADDRESS, "127.0.0.1:5555")
    living = Listener(keys, b"l" * NONCE_SIZE, INSTANCE, "127.0.0.1:6666")
    with pytest.raises(HandshakeError):
        living.receive_hello(dialling.receive_challenge(living.challenge()))


def test_a_client_without_a_token_is_welcome_as_nobody():
    listening, dialling = listener(), client()
    hello = listening.receive_hello(dialling.receive_challenge(listening.challenge()))
    assert (hello.role, hello.token) == (Role.CLIENT, "")
    assert dialling.receive_welcome(listening.welcome()) == INSTANCE


def test_a_client_proves_its_token_and_does_not_show_it():
    listening, dialling = listener(), client(token=TOKEN)
    body = dialling.receive_challenge(listening.challenge())
    assert b"signature" not in body
    hello = listening.receive_hello(body)
    assert hello.token == "header.payload"
    listening.check_token(TOKEN)
    assert dialling.receive_welcome(listening.welcome()) == INSTANCE


@given(st.text(alphabet="abc-_", min_size=1).filter(lambda text: text != "signature"))
def test_a_token_with_another_signature_is_refused(signature):
    listening, dialling = listener(), client(token=f"header.payload.{signature}")
    listening.receive_hello(dialling.receive_challenge(listening.challenge()))
    with pytest.raises(HandshakeError, match="wrong access token"):
        listening.check_token(TOKEN)


def test_whoever_knows_the_cookie_cannot_pass_for_the_node_to_a_client_with_a_token():
    posing, dialling = listener(), client(token=TOKEN)
    posing.receive_hello(dialling.receive_challenge(posing.challenge()))
    with pytest.raises(HandshakeError):
        dialling.receive_welcome(posing.welcome())


def test_a_proved_token_that_was_overheard_is_good_for_no_other_connection():
    overheard = client(token=TOKEN).receive_challenge(listener().challenge())
    other = listener(nonce=b"o" * NONCE_SIZE)
    with pytest.raises(HandshakeError):
        other.receive_hello(overheard)


@given(st.integers(min_value=0))
def test_one_flipped_bit_of_a_clients_hello_spoils_it(place):
    listening = listener()
    hello = bytearray(client(token=TOKEN).receive_challenge(listening.challenge()))
    place %= len(hello) * 8
    hello[place // 8] ^= 1 << place % 8
    with pytest.raises(HandshakeError):
        listening.receive_hello(bytes(hello))

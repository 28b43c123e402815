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
    Listener,
)

COOKIE = b"c" * 32
INSTANCE = b"12345678"
ADDRESS = "127.0.0.1:4711"

nonces = st.binary(min_size=NONCE_SIZE, max_size=NONCE_SIZE)


def listener(cookie: bytes = COOKIE, nonce: bytes = b"l" * NONCE_SIZE) -> Listener:
    return Listener(cookie, nonce, INSTANCE)


def dialler(cookie: bytes = COOKIE, nonce: bytes = b"d" * NONCE_SIZE) -> Dialler:
    return Dialler(cookie, nonce, ADDRESS)


@given(st.binary(min_size=1, max_size=64), nonces, nonces)
def test_two_that_know_the_cookie_learn_each_others_address_and_instance(cookie, one, two):
    listening, dialling = listener(cookie, one), dialler(cookie, two)
    address, welcome = listening.receive_hello(dialling.receive_challenge(listening.challenge()))
    assert address == ADDRESS
    assert dialling.receive_welcome(welcome) == INSTANCE


def test_a_dialler_with_another_cookie_is_refused():
    listening = listener()
    with pytest.raises(HandshakeError, match="wrong cookie"):
        listening.receive_hello(dialler(b"x" * 32).receive_challenge(listening.challenge()))


def test_a_listener_with_another_cookie_is_refused():
    false, dialling = listener(b"x" * 32), dialler()
    hello = dialling.receive_challenge(false.challenge())
    _, welcome = Listener(b"x" * 32, b"l" * NONCE_SIZE, INSTANCE).receive_hello(
        dialler(b"x" * 32).receive_challenge(false.challenge())
    )
    with pytest.raises(HandshakeError):
        false.receive_hello(hello)
    with pytest.raises(HandshakeError, match="does not know the cookie"):
        dialling.receive_welcome(welcome)


@given(nonces.filter(lambda nonce: nonce != b"l" * NONCE_SIZE))
def test_a_hello_that_was_overheard_opens_no_other_connection(nonce):
    overheard = dialler().receive_challenge(listener().challenge())
    with pytest.raises(HandshakeError, match="wrong cookie"):
        listener(nonce=nonce).receive_hello(overheard)


@given(nonces.filter(lambda nonce: nonce != b"d" * NONCE_SIZE))
def test_a_welcome_that_was_overheard_deceives_no_other_dialler(nonce):
    listening = listener()
    _, overheard = listening.receive_hello(dialler().receive_challenge(listening.challenge()))
    other = dialler(nonce=nonce)
    other.receive_challenge(listening.challenge())
    with pytest.raises(HandshakeError, match="does not know the cookie"):
        other.receive_welcome(overheard)


def test_a_proof_cannot_be_reflected_to_its_maker():
    # Somebody without the cookie answers the dialler with the dialler's own proof.
    dialling = dialler()
    hello = dialling.receive_challenge(listener().challenge())
    proof = hello[2 + NONCE_SIZE : 2 + NONCE_SIZE + PROOF_SIZE]
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
    _, body = listening.receive_hello(dialling.receive_challenge(listening.challenge()))
    welcome = bytearray(body)
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


@given(st.integers(min_value=0, max_value=2 + NONCE_SIZE + PROOF_SIZE - 1))
def test_a_hello_that_is_cut_short_is_refused(size):
    listening = listener()
    with pytest.raises(HandshakeError):
        listening.receive_hello(dialler().receive_challenge(listening.challenge())[:size])


@given(st.integers(min_value=0, max_value=INSTANCE_SIZE + PROOF_SIZE - 1))
def test_a_welcome_that_is_cut_short_is_refused(size):
    listening, dialling = listener(), dialler()
    _, welcome = listening.receive_hello(dialling.receive_challenge(listening.challenge()))
    with pytest.raises(HandshakeError):
        dialling.receive_welcome(welcome[:size])


@given(st.integers(min_value=0, max_value=65535).filter(lambda version: version != PROTOCOL_VERSION))
def test_another_version_is_named_in_the_refusal(version):
    challenge = bytearray(listener().challenge())
    challenge[3:5] = struct.pack(">H", version)
    with pytest.raises(HandshakeError, match=f"version {version}"):
        dialler().receive_challenge(bytes(challenge))
    hello = struct.pack(">H", version) + bytes(NONCE_SIZE + PROOF_SIZE)
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

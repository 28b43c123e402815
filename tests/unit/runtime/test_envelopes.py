"""Bodies of Thespian's messages: what was put in comes out, and the sender is read once."""

from __future__ import annotations

import pickle
import struct

import pytest

from bitnexus.actors.runtime.addressing import Addressing
from bitnexus.actors.runtime.envelopes import Reader, encode, pickled_sender

ONE = Addressing.getAddressFromString(("127.0.0.1", 4001))
OTHER = Addressing.getAddressFromString(("127.0.0.1", 4002))


def test_sender_and_message_come_out_as_they_were_put_in():
    sender, message = Reader().read(encode(pickled_sender(ONE), {"to": OTHER, "text": "é" * 70_000}))
    assert sender == ONE
    assert message == {"to": OTHER, "text": "é" * 70_000}


def test_the_sender_is_read_once_as_long_as_it_is_the_same():
    reader = Reader()
    one, other = pickled_sender(ONE), pickled_sender(OTHER)
    first, again = reader.read(encode(one, 1))[0], reader.read(encode(one, 2))[0]
    assert again is first
    assert reader.read(encode(other, 3)) == (OTHER, 3)
    assert reader.read(encode(one, 4)) == (ONE, 4)


@pytest.mark.parametrize("cut", [0, 1, 2, 40, -1])
def test_a_body_that_is_cut_off_is_an_error_and_harms_nothing_after_it(cut):
    reader = Reader()
    body = encode(pickled_sender(ONE), "a message")
    with pytest.raises((struct.error, EOFError, pickle.UnpicklingError)):
        reader.read(body[:cut])
    assert reader.read(body) == (ONE, "a message")

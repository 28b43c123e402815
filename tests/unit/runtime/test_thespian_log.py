"""Thespian's notes about messages are made when they are written."""

from __future__ import annotations

import pytest
from thespian.actors import ActorAddress
from thespian.system.transport import ReceiveEnvelope, TransmitIntent

import bitnexus.actors.runtime.system  # noqa: F401  # it puts things in place


class Noisy:
    """Says how often it was printed."""

    def __init__(self) -> None:
        self.printed = 0

    def __str__(self) -> str:
        self.printed += 1
        return "what it says"


@pytest.mark.parametrize("kind", [ReceiveEnvelope, TransmitIntent])
def test_a_message_is_printed_for_the_line_that_shows_it_alone(kind):
    message = Noisy()
    moved = kind(ActorAddress("somewhere"), message)
    note = moved.identify()
    assert message.printed == 0
    assert "what it says" in f"{note}"
    assert "what it says" in "%s" % note  # noqa: UP031  # as Thespian does
    assert "what it says" in str(moved)
    assert message.printed == 3

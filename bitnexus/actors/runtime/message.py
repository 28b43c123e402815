"""The base of all messages: declared schema, tagged with name and version, encoded by msgspec."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base class of messages; a subclass gives ``tag="Name/version"`` and ``frozen=True``.

    Only fields that cannot form a reference cycle (strings, numbers, other messages, lists and dicts of them)
    are allowed: messages are exempt from the cyclic garbage collector.
    """

    def __str__(self) -> str:
        # Thespian formats every message it moves for log lines that are not written: keep that cheap.
        return type(self).__name__

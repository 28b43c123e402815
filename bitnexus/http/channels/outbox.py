"""What is to be sent to a client and has not left: bounded, for a client may read slowly or not at all. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

MAX_MESSAGES: Final = 1_000
MAX_SIZE: Final = 1024 * 1024


class Full(Exception):
    """The client does not read: nothing may be dropped silently, so it is to be cut off."""


class Outbox:
    """Messages in their order: text, or bytes for binary ones. Sizes are characters and bytes."""

    __slots__ = ("_messages", "_size")

    def __init__(self) -> None:
        # Made when it is needed: an empty one is larger than all else that a client takes here, and most never wait.
        self._messages: deque[str | bytes] | None = None
        self._size = 0

    def __len__(self) -> int:
        """How many wait."""
        return 0 if self._messages is None else len(self._messages)

    def put(self, message: str | bytes) -> None:
        """Add one. Raises Full, and then it is not added."""
        if len(self) >= MAX_MESSAGES or self._size + len(message) > MAX_SIZE:
            raise Full
        if self._messages is None:
            self._messages = deque()
        self._messages.append(message)
        self._size += len(message)

    def pop(self) -> str | bytes:
        """Take the oldest; there must be one."""
        assert self._messages is not None
        message = self._messages.popleft()
        self._size -= len(message)
        return message

    def take(self) -> list[str | bytes]:
        """Take all."""
        messages = list(self._messages or ())
        self.clear()
        return messages

    def clear(self) -> None:
        """Forget all."""
        self._messages = None
        self._size = 0

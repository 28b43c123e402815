"""The three lanes of a connection: each has its own bounds, so that none waits for another or is refused for it.

    CONTROL   heartbeats, exits, stops, names, cancellations: see `Message.is_control`
    ENVELOPE  Thespian's own messages
    BATCH     the application's messages

Control frames leave first, then envelopes, then batches; a receiver takes what it has read in the same order. A lane's
window bounds what is unacknowledged; a queue bounds what waits for the window.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from bitnexus.actors.runtime import wire
from bitnexus.errors import Overloaded

WINDOW_FRAMES: Final = 4
WINDOW_BYTES: Final = 4 * 1024 * 1024
#: A batch is acknowledged with what is posted next, or when there are so many, or so late. At once would be a write
#: here and a wakeup there for nothing: the window lets the sender go on.
ACK_FRAMES: Final = WINDOW_FRAMES // 2
ACK_DELAY_S: Final = 0.005
MAX_QUEUED_ITEMS: Final = 65_536
MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
MAX_BATCH_ITEMS: Final = 2_048
MAX_BATCH_BYTES: Final = 1024 * 1024
#: The control lane is narrow: a peer that has not taken so much is lost.
CONTROL_WINDOW_FRAMES: Final = 64
MAX_CONTROL_ITEMS: Final = 10_000
MAX_CONTROL_BYTES: Final = 16 * 1024 * 1024


class Window:
    """What of one lane the peer has not acknowledged yet. One frame may always be under way, however large."""

    __slots__ = ("_bytes", "_frames", "_max_bytes", "_max_frames")

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._frames = 0
        self._bytes = 0

    @property
    def is_open(self) -> bool:
        """Whether one more frame may leave."""
        return not self._frames or (self._frames < self._max_frames and self._bytes < self._max_bytes)

    def sent(self, size: int) -> None:
        """A frame with a body of `size` bytes left."""
        self._frames += 1
        self._bytes += size

    def acknowledged(self, size: int) -> None:
        """The peer took it."""
        self._frames -= 1
        self._bytes -= size


class Queue:
    """Encoded items that wait to leave, in order; bounded in number and bytes."""

    __slots__ = ("_items", "_max_items", "_size", "max_bytes")

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items = max_items
        self.max_bytes = max_bytes
        self._items: deque[bytes] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_half_full(self) -> bool:
        """Whether what can be done without should not be queued any more."""
        return len(self._items) * 2 >= self._max_items or self._size * 2 >= self.max_bytes

    def put(self, item: bytes) -> None:
        """Let `item` wait. Raises Overloaded: it does not, and has no effect."""
        size = len(item)
        if size > wire.MAX_MESSAGE_BYTES:
            raise Overloaded(f"a message of {size} bytes is over the bound")
        if len(self._items) >= self._max_items or self._size + size > self.max_bytes:
            raise Overloaded("too many messages wait for this process")
        self._items.append(item)
        self._size += size

    def take(self, max_items: int, max_bytes: int) -> list[bytes]:
        """The items of the next frame: at least one, of a queue that is not empty."""
        items = self._items
        if len(items) <= max_items and self._size <= max_bytes:  # all of them, as nearly always
            batch = list(items)
            self.clear()
            return batch
        batch = [items.popleft()]
        size = len(batch[0])
        while items and len(batch) < max_items and size + len(items[0]) <= max_bytes:
            item = items.popleft()
            size += len(item)
            batch.append(item)
        self._size -= size
        return batch

    def clear(self) -> None:
        """Forget what waits."""
        self._items.clear()
        self._size = 0

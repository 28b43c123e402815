"""Room on the interpreter's stack.

CPython (3.11 and later) keeps the frames of Python functions in chunks of 16 KB. A call that does not fit into the
present chunk maps a new one, and its return unmaps it at once. A process of the node runs its loop some forty calls
deep, below Thespian's and multiprocessing's, so it is chance where in a chunk that is; where the end of one lies
between two functions that call each other for every message, each call costs two system calls and a page fault:
in a front that was half of all its time.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Final, TypeVar, cast

T = TypeVar("T")

#: Slots of 8 bytes. A chunk is made as large as the frame that needs it and 1,000 slots more, rounded up to a power of
#: two: 1 MB for this one, of which nearly half is left for the frames of what it calls, some thousands.
_SLOTS: Final = 65_536


def _call(function: Callable[[], T]) -> T:
    return function()


#: Runs a function without arguments, with room for the frames of all that it calls. The memory is touched only as far
#: as they reach; the frame's own slots never are.
with_room = cast(
    "Callable[[Callable[[], T]], T]",
    FunctionType(_call.__code__.replace(co_stacksize=_SLOTS, co_name="with_room"), globals()),
)

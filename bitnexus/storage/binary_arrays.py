"""Arrays of UUIDs and of bigints as the server takes them, made for a fraction of what asyncpg takes for the same.

A connection that has been :func:`prepared <use>` takes what :func:`uuid_array` and :func:`bigint_array` give wherever a
statement has a parameter of type ``uuid[]`` or ``bigint[]``. The format is that of PostgreSQL's array_send: the number
of dimensions, whether there are NULLs, the elements' type, length and lower bound of the dimension; then each element
behind its length.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

_UUID, _UUIDS = 2950, 2951
_BIGINT, _BIGINTS = 20, 1016
_EMPTY: Final = struct.Struct(">iiI")
_HEADER: Final = struct.Struct(">iiIii")
_UUID_LENGTH: Final = "00000010"
#: The length of an element that is NULL, where a value would be.
_NULL_LENGTH: Final = "ffffffff"
_BIGINT_LENGTH: Final = array("I", struct.pack(">i", 8))


def uuid_array(values: Sequence[str], *, nullable: bool = False) -> bytes:
    """Canonical UUIDs; and, if it is `nullable`, "" for NULL.

    Raises:
        ValueError: one of them is neither.
    """
    if not values:
        return _EMPTY.pack(0, 0, _UUID)
    if all(values):
        digits, nulls = _UUID_LENGTH + _UUID_LENGTH.join(values), 0
    elif not nullable:
        raise ValueError("an id is empty")
    else:
        digits, nulls = "".join([_UUID_LENGTH + value if value else _NULL_LENGTH for value in values]), 1
    return _HEADER.pack(1, nulls, _UUID, len(values), 1) + bytes.fromhex(digits.replace("-", ""))


def bigint_array(values: Sequence[int]) -> bytes:
    """Signed 64-bit integers.

    Raises:
        OverflowError: one of them is none.
    """
    if not values:
        return _EMPTY.pack(0, 0, _BIGINT)
    numbers = array("q", values)
    if sys.byteorder == "little":
        numbers.byteswap()
    halves = array("I", numbers.tobytes())
    words = _BIGINT_LENGTH * (3 * len(values))
    words[1::3], words[2::3] = halves[::2], halves[1::2]
    return _HEADER.pack(1, 0, _BIGINT, len(values), 1) + words.tobytes()


def use(connection: asyncpg.Connection[Any]) -> None:
    """Have the connection take these.

    asyncpg lets its users set the codec of an element's type, not that of an array's; the function behind it does.
    """
    settings = connection._protocol.get_settings()  # noqa: SLF001 - see above
    for oid, name in ((_UUIDS, "_uuid"), (_BIGINTS, "_int8")):
        settings.add_python_codec(oid, name, "pg_catalog", [], "scalar", bytes, _decode, "binary")


def _decode(value: bytes) -> None:
    raise NotImplementedError("arrays of these types are sent only")

"""Opaque cursors: where a list goes on, signed, and bound to the list and its filter.

The text is base64url(16 bytes of HMAC-SHA256 ‖ JSON of the position). The filter is signed but not carried: a cursor
is worth nothing at another list, for another user, or with another filter.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final

import orjson

from bitnexus.errors import BadCursor
from bitnexus.keys import derive_keys, is_signed, mac_of

_MAC_BYTES: Final = 16
_MAX_CHARS: Final = 512


class Cursors:
    """Makes cursors, and reads them, also those that were made with one of the `old_secrets`."""

    def __init__(self, secret_key_base: str, old_secrets: Sequence[str] = ()) -> None:
        self._keys = derive_keys(secret_key_base, old_secrets, "cursor")

    def encode(self, position: Sequence[int | str], bound_to: str) -> str:
        """A cursor for `position` (small numbers and strings) in the list that `bound_to` names."""
        payload = orjson.dumps(position)
        mac = mac_of(_signed(payload, bound_to), self._keys[0], _MAC_BYTES)
        return base64.urlsafe_b64encode(mac + payload).rstrip(b"=").decode()

    def decode(self, cursor: str, bound_to: str) -> list[int | str]:
        """The position, as it was given to :meth:`encode`.

        Raises:
            BadCursor: forged, damaged, or made for another list.
        """
        if len(cursor) > _MAX_CHARS or not cursor.isascii():
            raise BadCursor
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except binascii.Error as error:
            raise BadCursor from error
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not is_signed(mac, _signed(payload, bound_to), self._keys, _MAC_BYTES):
            raise BadCursor
        # Unused low bits of the last character would let two texts mean one cursor.
        if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != cursor:
            raise BadCursor
        position: list[int | str] = orjson.loads(payload)  # only encode() can have signed it
        return position


def _signed(payload: bytes, bound_to: str) -> bytes:
    scope = bound_to.encode()
    return len(scope).to_bytes(4, "big") + scope + payload

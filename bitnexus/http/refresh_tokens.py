"""Refresh tokens: what a client exchanges for its next access token, once each. Pure but for the random bytes given.

The text is ``bnr_`` and base64url(16 bytes of the session's id ‖ 32 random bytes ‖ 16 bytes of HMAC-SHA256). PostgreSQL
has the SHA-256 of the one that is good now. The HMAC tells what was once good from what never was, with no row for
each: only the first means that somebody has two copies, and costs a query.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import uuid
from collections.abc import Sequence
from typing import Final

from bitnexus.errors import InvalidRefreshToken
from bitnexus.keys import derive_keys, is_signed, mac_of

PREFIX: Final = "bnr_"
RANDOM_BYTES: Final = 32
_ID_BYTES: Final = 16
_MAC_BYTES: Final = 16
_CHARS: Final = len(PREFIX) + 86


class RefreshTokens:
    """Makes refresh tokens that live for `ttl_s` from then on; reads those made with one of the `old_secrets` too."""

    def __init__(self, secret_key_base: str, ttl_s: int, *, old_secrets: Sequence[str] = ()) -> None:
        self._keys = derive_keys(secret_key_base, old_secrets, "refresh-token")
        self.ttl_s = ttl_s

    def make(self, session_id: str, random: bytes) -> str:
        """A token of the session; `random` are :data:`RANDOM_BYTES` that nobody can guess."""
        assert len(random) == RANDOM_BYTES
        payload = uuid.UUID(session_id).bytes + random
        mac = mac_of(payload, self._keys[0], _MAC_BYTES)
        return PREFIX + base64.urlsafe_b64encode(payload + mac).rstrip(b"=").decode()

    def session_of(self, token: str) -> str:
        """The session that the token is of, or was.

        Raises:
            InvalidRefreshToken: this service never made it.
        """
        if len(token) != _CHARS or not token.isascii() or not token.startswith(PREFIX):
            raise InvalidRefreshToken
        try:
            raw = base64.b64decode(token[len(PREFIX) :] + "==", altchars=b"-_", validate=True)
        except binascii.Error as error:
            raise InvalidRefreshToken from error
        payload, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not is_signed(mac, payload, self._keys, _MAC_BYTES):
            raise InvalidRefreshToken
        return str(uuid.UUID(bytes=payload[:_ID_BYTES]))


def hash_of(token: str) -> bytes:
    """What is kept of a token: 32 bytes."""
    return hashlib.sha256(token.encode()).digest()

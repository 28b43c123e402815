"""Refresh tokens: what a client exchanges for its next access token, once each. Pure but for the random bytes given.

The text is ``bnr_`` and base64url(16 bytes of the session's id ‖ 32 random bytes ‖ 16 bytes of HMAC-SHA256). PostgreSQL
has the SHA-256 of the one that is good now. The HMAC tells what was once good from what never was, with no row for
each: only the first means that somebody has two copies, and costs a query.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import uuid
from typing import Final

from bitnexus.errors import InvalidRefreshToken
from bitnexus.keys import derive_key

PREFIX: Final = "bnr_"
RANDOM_BYTES: Final = 32
_ID_BYTES: Final = 16
_MAC_BYTES: Final = 16
_CHARS: Final = len(PREFIX) + 86


class RefreshTokens:
    """Makes and reads refresh tokens that live for `ttl_s` after they were made."""

    def __init__(self, secret_key_base: str, ttl_s: int) -> None:
        self._key = derive_key(secret_key_base, "refresh-token")
        self.ttl_s = ttl_s

    def make(self, session_id: str, random: bytes) -> str:
        """A token of the session; `random` are :data:`RANDOM_BYTES` that nobody can guess."""
        assert len(random) == RANDOM_BYTES
        payload = uuid.UUID(session_id).bytes + random
        return PREFIX + base64.urlsafe_b64encode(payload + self._mac(payload)).rstrip(b"=").decode()

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
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise InvalidRefreshToken
        return str(uuid.UUID(bytes=payload[:_ID_BYTES]))

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_MAC_BYTES]


def hash_of(token: str) -> bytes:
    """What is kept of a token: 32 bytes."""
    return hashlib.sha256(token.encode()).digest()

"""One secret, many keys: every use of `SECRET_KEY_BASE` gets a key of its own, so none can stand for another."""

from __future__ import annotations

import hashlib
import hmac


def derive_key(secret_key_base: str, purpose: str) -> bytes:
    """The 32-byte key for `purpose`; HMAC-SHA256 as a pseudo-random function of the secret."""
    return hmac.digest(secret_key_base.encode(), b"bitnexus/" + purpose.encode(), "sha256")


def key_id(key: bytes) -> str:
    """A short public name of a key (the `kid` of a token); it says nothing about the key itself."""
    return hashlib.sha256(b"bitnexus/kid/" + key).hexdigest()[:12]

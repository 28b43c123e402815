"""One secret, many keys: every use of `SECRET_KEY_BASE` gets a key of its own, so none can stand for another.

While the secret is being replaced there are several: what is made is made with the keys of the present one, and what
was made with those of an old one is believed as long as that is in `SECRET_KEY_BASE_OLD`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence


def derive_key(secret_key_base: str, purpose: str) -> bytes:
    """The 32-byte key for `purpose`; HMAC-SHA256 as a pseudo-random function of the secret."""
    return hmac.digest(secret_key_base.encode(), b"bitnexus/" + purpose.encode(), "sha256")


def derive_keys(present: str, old: Iterable[str], purpose: str) -> tuple[bytes, ...]:
    """The keys for `purpose`: first that of the present secret, which signs, then those that are still believed."""
    return tuple(derive_key(secret, purpose) for secret in (present, *old))


def key_id(key: bytes) -> str:
    """A short public name of a key (the `kid` of a token); it says nothing about the key itself."""
    return hashlib.sha256(b"bitnexus/kid/" + key).hexdigest()[:12]


def mac_of(message: bytes, key: bytes, length: int) -> bytes:
    """The first `length` bytes of the message's HMAC-SHA256."""
    return hmac.digest(key, message, "sha256")[:length]


def is_signed(mac: bytes, message: bytes, keys: Sequence[bytes], length: int) -> bool:
    """Whether `mac` is the message's :func:`mac_of` `length` bytes by one of the keys; in constant time for each."""
    return any(hmac.compare_digest(mac, mac_of(message, key, length)) for key in keys)

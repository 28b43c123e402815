"""Secrets of webhooks and signatures by them, in the form of Standard Webhooks (v1, HMAC-SHA256). Pure.

A secret is not stored: it follows from the service's own and a random salt that stands in the endpoint's row, so that
whoever reads the database cannot sign.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from typing import Final

from bitnexus.keys import derive_key

PREFIX: Final = "whsec_"
SALT_BYTES: Final = 32
ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"


class Secrets:
    """The secrets of all endpoints of this service."""

    def __init__(self, secret_key_base: str, old: Sequence[str] = ()) -> None:
        self._roots = [derive_key(each, "webhooks") for each in (secret_key_base, *old)]

    def key(self, endpoint_id: str, salt: bytes) -> bytes:
        """The 32 bytes with which messages to the endpoint are signed."""
        return _key(self._roots[0], endpoint_id, salt)

    def keys(self, endpoint_id: str, salts: Sequence[bytes]) -> list[bytes]:
        """All keys that its receiver may know: those of these salts, by the service's secret and by its old ones."""
        return [_key(root, endpoint_id, salt) for root in self._roots for salt in salts]

    def shown(self, endpoint_id: str, salt: bytes) -> str:
        """That key as its owner gets it, once."""
        return PREFIX + base64.b64encode(self.key(endpoint_id, salt)).decode()


def _key(root: bytes, endpoint_id: str, salt: bytes) -> bytes:
    return hmac.digest(root, endpoint_id.encode() + b"/" + salt, "sha256")


def headers(keys: Sequence[bytes], message_id: str, sent_at_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a message; of several keys, as in a rotation, a receiver needs to know one."""
    content = f"{message_id}.{sent_at_s}.".encode() + body
    signatures = " ".join("v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys)
    return {ID_HEADER: message_id, TIMESTAMP_HEADER: str(sent_at_s), SIGNATURE_HEADER: signatures}

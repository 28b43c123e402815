"""Names of the header fields that are looked up for every request, prepared: a plain string costs four times as much.

What looks them up may do so in any mapping of strings.
"""

from __future__ import annotations

from typing import Final

from multidict import istr

AUTHORIZATION: Final = istr("Authorization")
CONTENT_ENCODING: Final = istr("Content-Encoding")
CONTENT_TYPE: Final = istr("Content-Type")
EXPECT: Final = istr("Expect")
IDEMPOTENCY_KEY: Final = istr("Idempotency-Key")
ORIGIN: Final = istr("Origin")
TRACEPARENT: Final = istr("traceparent")
X_REQUEST_ID: Final = istr("X-Request-Id")

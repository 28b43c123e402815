"""Who may connect: version, Origin, token, in this order; a refusal costs no more than a small answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final

from bitnexus.errors import Forbidden, Unauthorized
from bitnexus.http.channels.origins import allowed
from bitnexus.http.channels.serializer import SERIALIZERS, UNSAID, Serializer
from bitnexus.principal import Principal
from bitnexus.tokens import AccessTokens

#: The npm client sends its token in Sec-WebSocket-Protocol behind this prefix; when it polls, in the header below.
BEARER_PROTOCOL: Final = "base64url.bearer.phx."
POLLING_HEADER: Final = "X-Phoenix-AuthToken"


class Admission:
    """`origins` are the patterns of pages that may connect (none: those of the same host), besides `pages`, by name."""

    def __init__(self, tokens: AccessTokens, origins: Sequence[str] = (), pages: frozenset[str] = frozenset()) -> None:
        self._tokens = tokens
        self._origins = tuple(origins)
        self._pages = pages

    def check_origin(self, headers: Mapping[str, str], host: str) -> None:
        """Raises Forbidden for a page that may not connect; who sends no Origin is no page."""
        origin = headers.get("Origin")
        if origin is not None and origin not in self._pages and not allowed(origin, host, self._origins):
            raise Forbidden("Pages of this origin may not connect")

    def admit(self, headers: Mapping[str, str], query: Mapping[str, str], host: str) -> tuple[Principal, Serializer]:
        """Who connects, and the version it speaks.

        Raises:
            Forbidden: version, origin or token refused.
        """
        serializer = SERIALIZERS.get(query.get("vsn", UNSAID))
        if serializer is None:
            raise Forbidden(f"Only vsn={' and '.join(SERIALIZERS)} are served")
        self.check_origin(headers, host)
        token = token_of(headers, query)
        if token is None:
            raise Forbidden("No token was given")
        try:
            return self._tokens.verify(token), serializer
        except Unauthorized as error:
            raise Forbidden("The token is not valid") from error


def token_of(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The token of a connect request: in Sec-WebSocket-Protocol, Authorization, the polling header or the query."""
    for protocol in headers.get("Sec-WebSocket-Protocol", "").split(","):
        name = protocol.strip()
        if name.startswith(BEARER_PROTOCOL):
            return _base64_text(name[len(BEARER_PROTOCOL) :])
    scheme, _, credentials = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get(POLLING_HEADER) or query.get("token")


def _base64_text(text: str) -> str | None:
    # Both alphabets are seen: the npm client writes the standard one with its padding removed.
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None

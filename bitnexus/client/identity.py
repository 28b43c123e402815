"""Where the node is, and as whom a client comes: resolved anew at every attempt to join, since either may change."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bitnexus.actors.runtime.handshake import Keys
from bitnexus.config import node_file
from bitnexus.config.certificates import TlsFiles
from bitnexus.config.client_settings import ClientSettings, load_client
from bitnexus.config.secret_file import UnsafeSecretFileError
from bitnexus.errors import InvalidSettings, NoProcess, Unauthorized

#: An access token, or a function that gives a fresh one; it is called on the client's loop and must not block.
Token: TypeAlias = str | Callable[[], str]

_JWT_PARTS = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom an access token says that it stands for; the node checks it, this does not."""

    user_id: str
    role: str


class Identity:
    """The arguments of `connect`, completed by the environment. Raises InvalidSettings."""

    def __init__(
        self, address: str | None, token: Token | None, cookie: str | bytes | None, tls: TlsFiles | None
    ) -> None:
        self._settings: ClientSettings = load_client()
        self._address = address if address is not None else self._settings.address
        if self._address is not None:
            check_address(self._address)
        known = self._settings.token
        self._token = token if token is not None else None if known is None else known.get_secret_value()
        given = cookie.encode() if isinstance(cookie, str) else cookie
        self.keys = Keys.derive(self._settings.known_cookie() if given is None else given)
        self.tls = tls if tls is not None else self._settings.tls

    @property
    def renews_token(self) -> bool:
        """Whether another attempt may show another token."""
        return callable(self._token)

    @property
    def place(self) -> str:
        """Where the node is looked for, in words."""
        return self._address or str(self._settings.data_dir / node_file.NODE_FILE)

    def token(self) -> str:
        """The access token to show now, or "". Raises Unauthorized for what is none."""
        token = self._token() if callable(self._token) else self._token or ""
        if token:
            caller_of(token)
        return token

    def find(self) -> tuple[str, str]:
        """The address and the instance ("": unknown) of the node's root. Raises NoProcess or InvalidSettings."""
        if self._address is not None:
            return self._address, ""
        try:
            found = node_file.read_published(self._settings.data_dir)
        except UnsafeSecretFileError as error:
            raise InvalidSettings(f"BITNEXUS_NODE is not set and {error}") from error
        if found is None:
            raise NoProcess(f"no node has published its address in {self.place}")
        return found.address, found.instance


def check_address(address: str) -> None:
    """Raises InvalidSettings for what is no "host:port"."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:  # noqa: PLR2004  # ports
        raise InvalidSettings("The node's address must be of the form host:port")


def caller_of(token: str) -> Caller:
    """Whom the token says that it stands for. Raises Unauthorized for what is no access token."""
    parts = token.split(".")
    if len(parts) != _JWT_PARTS or not all(parts) or not token.isascii():
        raise Unauthorized("This is no access token")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return Caller(str(claims["sub"]), str(claims["role"]))
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise Unauthorized("This is no access token") from None

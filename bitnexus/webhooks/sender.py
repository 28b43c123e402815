"""Sends one message by HTTP: no redirects, no cookies, no proxies, a deadline, and to nowhere it must not go."""

from __future__ import annotations

import socket
import time
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from bitnexus import __version__
from bitnexus.webhooks.addresses import is_public, literal
from bitnexus.webhooks.policy import Attempt
from bitnexus.webhooks.signing import headers

TIMEOUT_S: Final = 10.0
CONNECT_S: Final = 5.0
#: Of an answer, so that a small one lets the connection be used again. What it says does not matter.
_READ_BYTES: Final = 4096
_LONGEST_ERROR: Final = 200


class NotAllowed(OSError):
    """The endpoint's name leads to an address that is not public."""


class PublicResolver(AbstractResolver):
    """Looks names up; raises NotAllowed unless every address is public. Connections go to the addresses it gave."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See the class."""
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(each["host"]) for each in found):
            raise NotAllowed("it leads to a private address")
        return found

    async def close(self) -> None:
        """Nothing is kept."""


class Sender:
    """`limit` bounds its connections."""

    def __init__(self, *, may_be_private: bool, limit: int, timeout_s: float = TIMEOUT_S) -> None:
        self._may_be_private = may_be_private
        resolver = None if may_be_private else PublicResolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limit, resolver=resolver, use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s)),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": f"bitnexus/{__version__}", "Content-Type": "application/json"},
        )

    async def send(self, url: str, keys: list[bytes], message_id: str, body: bytes) -> Attempt:
        """Send; what came of it. An answer is one whatever its status."""
        address = literal(URL(url).host or "")
        if not self._may_be_private and address is not None and not is_public(address):
            return Attempt(None, "it is a private address")
        signed = headers(keys, message_id, int(time.time()), body)
        try:
            async with self._session.post(url, data=body, headers=signed, allow_redirects=False) as response:
                await response.content.read(_READ_BYTES)
                return Attempt(response.status, "", _retry_after_s(response.headers))
        except TimeoutError:
            return Attempt(None, "no answer in time")
        except aiohttp.ClientConnectorError as error:
            why = error.os_error
            named = str(why) if isinstance(why, NotAllowed) else f"{type(error).__name__}: {error}"
            return Attempt(None, named[:_LONGEST_ERROR])
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Attempt(None, f"{type(error).__name__}: {error}"[:_LONGEST_ERROR])

    async def close(self) -> None:
        """End its connections."""
        await self._session.close()


def _retry_after_s(given: Any) -> float:  # noqa: ANN401 - aiohttp's headers
    value = given.get("Retry-After", "")
    return float(value) if value.isdecimal() and len(value) < 6 else 0.0  # noqa: PLR2004 - a day has five digits

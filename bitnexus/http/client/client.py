"""The client, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Self

import aiohttp

from bitnexus.http.client.books import Ledger, System
from bitnexus.http.client.money import Accounts, Transactions
from bitnexus.http.client.people import Auth, Users
from bitnexus.http.client.repeating import TRANSIENT, Repeating
from bitnexus.http.client.shop import Products
from bitnexus.http.client.tokens import TokenHolder, Tokens
from bitnexus.http.client.transport import Answer, Request, Transport

DEADLINE_S: Final = 30.0
ATTEMPT_S: Final = 15.0


class Client:
    """A client of the service at `url`; an asynchronous context manager.

    `tokens` are those of an earlier session, or an access token alone (a text): without any, `auth.login` gets some.
    `on_tokens` is told of new ones (None after a logout), to keep them for the next time. No attempt begins later
    than `deadline_s` after a request's first, none takes longer than `attempt_s`; `statuses` are those that are
    repeated, and `on_trouble` is told, in words, before each repeat. A `session` that is given is its owner's to close;
    on such a one aiohttp sends GET, PUT and DELETE once more by itself when the other side hangs up.
    """

    def __init__(
        self,
        url: str,
        *,
        tokens: Tokens | str | None = None,
        on_tokens: Callable[[Tokens | None], None] | None = None,
        deadline_s: float = DEADLINE_S,
        attempt_s: float = ATTEMPT_S,
        statuses: frozenset[int] = TRANSIENT,
        on_trouble: Callable[[str], None] | None = None,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self._url = url
        self._tokens = TokenHolder(Tokens(tokens) if isinstance(tokens, str) else tokens, on_tokens)
        self._repeating = Repeating(deadline_s, statuses)
        self._attempt_s = attempt_s
        self._on_trouble = on_trouble
        self._own_session: aiohttp.ClientSession | None = None
        if session is not None:
            self._use(session)

    async def __aenter__(self) -> Self:
        """Open a session, unless one was given."""
        if not hasattr(self, "_transport"):
            self._own_session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
            # What is repeated is decided here, not by method.
            self._own_session._retry_connection = False  # noqa: SLF001
            self._use(self._own_session)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it, if it is the client's own."""
        if self._own_session is not None:
            await self._own_session.close()

    def _use(self, session: aiohttp.ClientSession) -> None:
        self._transport = transport = Transport(
            session, self._url, self._tokens, self._repeating, attempt_s=self._attempt_s, on_trouble=self._on_trouble
        )
        self.auth = Auth(transport)
        self.users = Users(transport)
        self.accounts = Accounts(transport)
        self.transactions = Transactions(transport)
        self.products = Products(transport)
        self.ledger = Ledger(transport)
        self.system = System(transport)

    @property
    def tokens(self) -> Tokens | None:
        """The tokens of now. Keep them secret."""
        return self._tokens.now

    async def request(self, method: str, path: str, **options: Any) -> Answer:  # noqa: ANN401 - see Request
        """Any request; options are those of Request (`query`, `body`, `headers`, `is_safe`, `with_token`)."""
        return await self._transport.send(Request(method=method, path=path, **options))

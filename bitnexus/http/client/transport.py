"""Requests and answers: the address, the token, and repeats within a deadline. What the resources are made on."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from multidict import CIMultiDictProxy

from bitnexus.http.client.models import Session
from bitnexus.http.client.problems import ApiError, ClientError, NoAnswer, NotUnderstood, Unauthenticated, error_of
from bitnexus.http.client.repeating import Repeating
from bitnexus.http.client.tokens import TokenHolder, Tokens

REFRESH_PATH: Final = "/api/v1/auth/refresh"
CONNECT_S: Final = 10.0
_BAD: Final = 400
#: Larger bodies are sent in pieces, as aiohttp wants it.
_LARGE_BYTES: Final = 512 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer: its status, headers and body."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """The parsed body.

        Raises:
            NotUnderstood: it is no JSON.
        """
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise NotUnderstood("The answer is no JSON") from error

    def data(self, wanted: type[T], **more: object) -> T:
        """What stands under ``data``, as the wanted type, with `more` fields.

        Raises:
            NotUnderstood: it does not.
        """
        found = self.json()
        if not isinstance(found, dict) or "data" not in found:
            raise NotUnderstood("The answer has no data")
        given = found["data"]
        return convert({**given, **more} if more else given, wanted)

    @property
    def known(self) -> dict[str, object]:
        """What the headers say of the thing: `etag`, `replayed`."""
        return {
            "etag": self.headers.get("ETag", ""),
            "replayed": self.headers.get("Idempotent-Replayed") == "true",
        }


def convert(given: object, wanted: type[T]) -> T:
    """The JSON value as the wanted type.

    Raises:
        NotUnderstood: it does not fit.
    """
    try:
        return msgspec.convert(given, wanted)
    except msgspec.ValidationError as error:
        raise NotUnderstood(f"The answer is not understood: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`is_safe`: it may be sent any number of times. `body` is JSON; `content` is a body that is JSON already."""

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: object = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_safe: bool = False
    with_token: bool = True


class Transport:
    """Sends requests to the service at `url` over a session that somebody else closes."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        tokens: TokenHolder,
        repeating: Repeating,
        *,
        attempt_s: float,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self.tokens = tokens
        self._repeating = repeating
        self._attempt_s = attempt_s
        self._on_trouble = on_trouble

    async def send(self, request: Request) -> Answer:
        """The answer. An access token that has expired is renewed, once.

        Raises:
            ApiError: the service refuses, or goes on to be of no use until the deadline.
            NoAnswer: none came.
        """
        used = self.tokens.now if request.with_token else None
        try:
            return await self._repeated(request, used)
        except Unauthenticated:
            if used is None or not used.refresh_token:
                raise
            await self._renew(used)
        return await self._repeated(request, self.tokens.now)

    async def _repeated(self, request: Request, tokens: Tokens | None) -> Answer:
        until = monotonic() + self._repeating.deadline_s
        attempt = 0
        while True:
            asked_s = 0.0
            trouble: ClientError
            try:
                return await self._attempt(request, tokens)
            except ApiError as error:
                trouble, asked_s = error, error.problem.retry_after_s
                again = self._repeating.after_status(error.problem.status, is_safe=request.is_safe)
            except aiohttp.ClientConnectorError as error:
                trouble, again = NoAnswer(f"no answer: {error}"), True  # nobody has heard of it
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                trouble, again = NoAnswer(f"no answer: {str(error) or type(error).__name__}"), request.is_safe
            pause_s = self._repeating.pause_s(attempt, asked_s, until - monotonic(), random.uniform)
            if not again or pause_s is None:
                raise trouble
            if self._on_trouble is not None:
                self._on_trouble(str(trouble))
            await asyncio.sleep(pause_s)
            attempt += 1

    async def _attempt(self, request: Request, tokens: Tokens | None) -> Answer:
        content = msgspec.json.encode(request.body) if request.body is not None else request.content
        headers = {"Accept": "application/json", **request.headers}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if tokens is not None:
            headers["Authorization"] = f"Bearer {tokens.access_token}"
        large = content is not None and len(content) > _LARGE_BYTES
        async with self._session.request(
            request.method,
            self._url + request.path,
            params=request.query or None,
            data=io.BytesIO(content) if large and content is not None else content,
            headers=headers,
            allow_redirects=False,  # they would take the token elsewhere
            timeout=aiohttp.ClientTimeout(total=self._attempt_s, sock_connect=CONNECT_S),
        ) as response:
            body = await response.read()
        if response.status >= _BAD:
            raise error_of(response.status, response.headers, body)
        return Answer(response.status, response.headers, body)

    async def refresh(self) -> Session:
        """Fresh tokens for the refresh token; both old ones are used up.

        It is sent once: a refresh token that is seen twice ends the session.

        Raises:
            Unauthenticated: it is of no use any more: log in again.
        """
        async with self.tokens.turn:
            now = self.tokens.now
            return await self._exchange(now.refresh_token if now else "")

    async def _renew(self, used: Tokens) -> None:
        """As `refresh`, unless somebody else has done so since `used` was taken."""
        async with self.tokens.turn:
            if self.tokens.now == used:
                await self._exchange(used.refresh_token)

    async def _exchange(self, refresh_token: str) -> Session:
        body = {"session": {"refresh_token": refresh_token}}
        answer = await self._repeated(Request(method="POST", path=REFRESH_PATH, body=body), None)
        session = answer.data(Session)
        self.tokens.take(session)
        return session

"""A route as data: what is needed to serve it, and to describe it.

Every resource of :mod:`bitnexus.http.api` gives a list of these; :func:`endpoint` makes the handler. All that a handler
gets was authenticated and validated before.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from bitnexus.errors import (
    BadRequest,
    BitNexusError,
    CallTimeout,
    Forbidden,
    Overloaded,
    PayloadTooLarge,
    RequestTimedOut,
    Unauthorized,
    UnsupportedMediaType,
)
from bitnexus.http.described import Described
from bitnexus.http.fast_path import Answer, Begin, Finish, Headers
from bitnexus.http.fields import AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE
from bitnexus.http.limits import LIMITED_ROLE, Limits
from bitnexus.http.read import Read
from bitnexus.http.throttle import Throttle
from bitnexus.http.validation import parse_json, validate, validate_query
from bitnexus.principal import Principal
from bitnexus.tokens import AccessTokens

MAX_BODY_BYTES: Final = 64 * 1024
#: Requests with large bodies that one front has in memory, and how long the next one waits for its turn.
MAX_LARGE: Final = 8
LARGE_TURN_S: Final = 10.0
BODY_TIMEOUT_S: Final = 10.0
JSON_TYPE: Final = "application/json"
IDENTITY: Final = "identity"
#: Below a list: one of its things. What stands beside them, /users/me and /transactions/batch, is none, for any method.
ONE: Final = "/{id:(?!(?:me|batch)(?:/|$))[^/]+}"

BodyT = TypeVar("BodyT")
QueryT = TypeVar("QueryT")


class Access(enum.Enum):
    """Who may call a route at all; what of it they may see is the handler's matter."""

    PUBLIC = "public"
    USER = "user"
    ADMIN = "admin"


NOBODY: Final = Principal(user_id="", role="", expires_at=0.0)


@dataclass(slots=True)
class Call(Generic[BodyT, QueryT]):
    """One request to a handler: `principal` is :data:`NOBODY` on public routes; body and query are validated models."""

    request: web.Request
    principal: Principal
    body: BodyT
    query: QueryT


@dataclass(frozen=True, slots=True)
class Route:
    """Method and path (an aiohttp template), who may call it, its models, and the handler of a :class:`Call`.

    `bodiless` True: a request may come without the body, which is None then. `timed` False: the handler keeps a
    deadline itself, and need not pay for another. `body_bytes` bounds the body; of those whose bodies may be large,
    only :data:`MAX_LARGE` are served at a time, the others wait. `unlimited` True: of a public route, for probes.
    `begin`, of a route for users without a large body or of one for probes, does the same as the handler without
    waiting (see fast_path.py), for what it does not decline by a BitNexusError; where there is no body, it answers
    before it returns. `begin_read` is the same for a GET of one thing by its id. `described` is for who reads the
    document.
    """

    method: str
    path: str
    handler: Callable[[Call[Any, Any]], Awaitable[web.Response]]
    summary: str
    access: Access = Access.USER
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    bodiless: bool = False
    unlimited: bool = False
    timed: bool = True
    body_bytes: int = MAX_BODY_BYTES
    begin: Callable[[Headers, Principal, Any, Finish], None] | None = None
    begin_read: Callable[[Read[Any], Finish], None] | None = None
    described: Described | None = None


def endpoint(
    route: Route, tokens: AccessTokens, limits: Limits, time_limit_s: float
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The aiohttp handler of a route. One coroutine: on the hot path each more costs a microsecond."""
    if route.bodiless:
        return _with_or_without_body(route, tokens, limits, time_limit_s)
    body_of = TypeAdapter[Any](route.body) if route.body else None
    query_of = TypeAdapter[Any](route.query) if route.query else None
    access, handler, timed, body_bytes = route.access, route.handler, route.timed, route.body_bytes

    is_public, is_unlimited, throttle = access is Access.PUBLIC, route.unlimited, limits.users
    told_from_s = math.inf if throttle is None else throttle.told_from_s

    async def handle(request: web.Request) -> web.Response:
        used_s = 0.0
        if is_public:
            principal = NOBODY
            if not is_unlimited:
                limits.stranger(request)
        else:
            principal = _known(request, tokens, limits)
            if throttle is not None and principal.role == LIMITED_ROLE:
                used_s = throttle.take(principal.user_id)
        if access is Access.ADMIN and not principal.is_admin:
            raise Forbidden
        query = validate_query(query_of, request.query) if query_of else None
        body = validate(body_of, parse_json(await _read(request, body_bytes))) if body_of else None
        call = Call(request, principal, body, query)
        if timed:
            try:
                async with asyncio.timeout(time_limit_s):
                    response = await handler(call)
            except TimeoutError as error:
                raise CallTimeout from error
        else:
            response = await handler(call)
        if used_s > told_from_s:
            assert throttle is not None
            throttle.tell(response.headers, used_s)
        return response

    return handle if body_bytes <= MAX_BODY_BYTES else _in_turn(handle, tokens, limits, body_bytes)


def immediate(route: Route, tokens: AccessTokens, limits: Limits) -> Begin:
    """What the fast path begins requests of a route with, in the same order as :func:`endpoint`.

    But that those count against their user's limit which are begun: whatever is declined is counted by `endpoint`.
    """
    begin, throttle = route.begin, limits.users
    assert begin is not None
    if route.unlimited:
        return _for_anybody(begin)
    assert route.query is None
    assert route.access is Access.USER
    if route.body is None:
        return _at_once(begin, tokens, throttle)
    body_of = TypeAdapter[Any](route.body)

    def begin_call(headers: Headers, body: bytes, finish: Finish) -> None:
        if headers.get(CONTENT_TYPE) != JSON_TYPE:
            raise UnsupportedMediaType
        principal = authenticate(tokens, headers)
        model = validate(body_of, parse_json(body))
        if throttle is not None and principal.role == LIMITED_ROLE:
            used_s = throttle.take(principal.user_id)
            if used_s > throttle.told_from_s:
                finish = telling(throttle, used_s, finish)
        begin(headers, principal, model, finish)

    return begin_call


def _for_anybody(begin: Callable[[Headers, Principal, Any, Finish], None]) -> Begin:
    """What the fast path begins requests with of a public route that counts against no limit, and has no body."""

    def begin_call(headers: Headers, body: bytes, finish: Finish) -> None:
        if body:
            raise BadRequest
        begin(headers, NOBODY, None, finish)

    return begin_call


def _at_once(
    begin: Callable[[Headers, Principal, Any, Finish], None], tokens: AccessTokens, throttle: Throttle | None
) -> Begin:
    """What the fast path begins requests of users with that have no body, and are answered there and then.

    They are counted when the answer is there: by then nothing declines them but their user's limit.
    """

    def begin_call(headers: Headers, body: bytes, finish: Finish) -> None:
        if body:
            raise BadRequest
        principal = authenticate(tokens, headers)
        if throttle is not None and principal.role == LIMITED_ROLE:
            finish = _counting(throttle, principal.user_id, finish)
        begin(headers, principal, None, finish)

    return begin_call


def _counting(throttle: Throttle, user_id: str, finish: Finish) -> Finish:
    """`finish`, for what the user's limit allows."""

    def count(answer: Answer | BitNexusError) -> None:
        used_s = throttle.take(user_id)
        (telling(throttle, used_s, finish) if used_s > throttle.told_from_s else finish)(answer)

    return count


def telling(throttle: Throttle, used_s: float, finish: Finish) -> Finish:
    """`finish`, with what is left of the user's limit in the headers."""

    def tell(answer: Answer | BitNexusError) -> None:
        if not isinstance(answer, BitNexusError):
            status, body, headers = answer
            told = dict(headers)
            throttle.tell(told, used_s)
            answer = status, body, told
        finish(answer)

    return tell


def _known(request: web.Request, tokens: AccessTokens, limits: Limits) -> Principal:
    try:
        return authenticate(tokens, request.headers)
    except Unauthorized:
        limits.stranger(request)
        raise


def _with_or_without_body(
    route: Route, tokens: AccessTokens, limits: Limits, time_limit_s: float
) -> Callable[[web.Request], Awaitable[web.Response]]:
    with_body = endpoint(replace(route, bodiless=False), tokens, limits, time_limit_s)
    without = endpoint(replace(route, bodiless=False, body=None), tokens, limits, time_limit_s)

    async def handle_either(request: web.Request) -> web.Response:
        return await (with_body if request.can_read_body else without)(request)

    return handle_either


def _in_turn(
    handle: Callable[[web.Request], Awaitable[web.Response]], tokens: AccessTokens, limits: Limits, body_bytes: int
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler for requests with large bodies: few are in memory at a time, none of them a stranger's."""
    turns = asyncio.Semaphore(MAX_LARGE)

    async def handle_in_turn(request: web.Request) -> web.Response:
        _known(request, tokens, limits)
        try:
            async with asyncio.timeout(LARGE_TURN_S):
                await turns.acquire()
        except TimeoutError as error:
            raise Overloaded("Too many large requests are being served") from error
        try:
            return await handle(request.clone(client_max_size=body_bytes))
        finally:
            turns.release()

    return handle_in_turn


def authenticate(tokens: AccessTokens, headers: Mapping[str, str]) -> Principal:
    """The caller by `Authorization: Bearer`.

    Raises:
        Unauthorized: no such header, or a token that is not valid.
    """
    given = headers.get(AUTHORIZATION)
    if given is None:
        raise Unauthorized
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized
    return tokens.verify(token.strip())


async def _read(request: web.Request, most_bytes: int) -> bytes:
    """The body; bounded in size (again, chunked, by the request's client_max_size) and in time."""
    if request.headers.get(CONTENT_TYPE) != JSON_TYPE and request.content_type != JSON_TYPE:
        raise UnsupportedMediaType
    if request.headers.get(CONTENT_ENCODING, IDENTITY).lower() != IDENTITY:
        # The front does not inflate bodies (see its runner): they are small, and a bomb is smaller still.
        raise UnsupportedMediaType("A body must not be compressed")
    length = request.content_length
    if length is not None and length > most_bytes:
        raise PayloadTooLarge(f"A body may have {most_bytes} bytes")
    content = request.content
    try:
        if content.is_eof() and length is not None:
            return content.read_nowait()  # all of it is there, as nearly always: as request.read(), but for its loop
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError as error:
        raise RequestTimedOut from error
    except (web.RequestPayloadError, ConnectionError) as error:
        # Chunks that are none, or a client that is gone: its own fault or its network's, no failure of ours.
        raise BadRequest("The body is not complete") from error


def data_json(value: object) -> bytes:
    """``{"data": value}``; `value` is of JSON types."""
    return orjson.dumps({"data": value})


def data(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """The answer ``{"data": value}``; `value` is of JSON types."""
    return json_bytes(data_json(value), status=status, headers=headers)


def json_bytes(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer whose JSON is made already."""
    merged = {"Content-Type": JSON_TYPE}
    if headers:
        merged.update(headers)
    return web.Response(body=body, status=status, headers=merged)

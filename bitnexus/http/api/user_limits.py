"""Limits of what a user may transfer: set by an admin, read by the user as well."""

from __future__ import annotations

from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import ConfigDict, Field, JsonValue

from bitnexus.actors.ledger.accounts import canonical_uuid
from bitnexus.actors.messages import Limit, LimitsSet, SetLimits
from bitnexus.errors import InvalidFields, NotFound, Violation
from bitnexus.http.answers import expect
from bitnexus.http.api.resource import Resource
from bitnexus.http.api.transactions import AssetText
from bitnexus.http.api.users import ME
from bitnexus.http.api.users import PATH as USERS
from bitnexus.http.described import Described
from bitnexus.http.etags import etag, is_known, versions_to_match
from bitnexus.http.routes import Access, Call, Route, data
from bitnexus.http.shapes.base import One
from bitnexus.http.shapes.users import Limits
from bitnexus.http.validation import MAX_SAFE_INTEGER, Model
from bitnexus.storage import user_limits, users

PATH: Final = USERS + "/{id}/limits"
#: Of how many assets one user may have limits: all of them are read when the user's actor is activated.
MAX_LIMITS: Final = 100

Bound = Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)]
#: A limit has to limit something: for the document, in the words of JSON Schema (see `_check`).
_LIMITS_SOMETHING: Final[list[JsonValue]] = [
    {"properties": {name: {"type": "integer"}}, "required": [name]} for name in ("per_transfer", "per_day")
]


class AssetLimit(Model):
    """What the user may transfer of one asset, in minor units: in one transfer, and on one day (UTC). null: all."""

    model_config = ConfigDict(json_schema_extra={"anyOf": _LIMITS_SOMETHING})

    asset: AssetText
    per_transfer: Bound | None = None
    per_day: Bound | None = None


class ReplaceLimits(Model):
    """The body of PUT /users/:id/limits: all that are to be in force from now on; [] for none."""

    limits: Annotated[list[AssetLimit], Field(max_length=MAX_LIMITS)]


class UserLimits(Resource):
    """The resource."""

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        return [
            Route(
                "GET",
                PATH,
                self.show,
                "What a user may transfer",
                described=Described({200: One[Limits]}, errors=(NotFound,), if_none_match=True),
            ),
            Route(
                "PUT",
                PATH,
                self.replace,
                "Limit what a user may transfer",
                access=Access.ADMIN,
                body=ReplaceLimits,
                described=Described({200: One[Limits]}, errors=(NotFound,), if_match=True),
            ),
        ]

    async def show(self, call: Call[None, None]) -> web.Response:
        """The limits of the caller, or of anybody for an admin: all others do not exist. 304 if the client has them."""
        user_id = self._named(call)
        if not (call.principal.is_admin or user_id == call.principal.user_id):
            raise NotFound
        async with self._services.database.connection() as connection:
            if await users.by_id(connection, user_id) is None:
                raise NotFound
            version, limits = await user_limits.of_user(connection, user_id)
        if is_known(call.request.headers.get("If-None-Match"), etag(version)):
            return web.Response(status=304, headers={"ETag": etag(version)})
        return _answer(version, limits)

    async def replace(self, call: Call[ReplaceLimits, None]) -> web.Response:
        """Have these limits and no others from now on, for commands that are not in work yet.

        Raises:
            InvalidFields: an asset stands twice, or a limit limits nothing.
            NotFound, PreconditionRequired, PreconditionFailed: nothing was changed.
        """
        services, caller = self._services, call.principal
        versions = versions_to_match(call.request.headers.get("If-Match"))
        user_id = self._named(call)
        wanted = [Limit(each.asset, each.per_transfer, each.per_day) for each in call.body.limits]
        _check(wanted)
        if_versions = None if versions is None else sorted(versions)
        command = SetLimits(user_id, caller.role, caller.user_id, wanted, if_versions)
        target, timeout_s = services.partitions.of(user_id), services.call_timeout_s
        answer = expect(LimitsSet, await services.node.call(target, command, timeout_s=timeout_s, retry=True))
        return _answer(answer.version if answer.limits else 0, answer.limits)

    def _named(self, call: Call[Any, None]) -> str:
        wanted = call.request.match_info["id"]
        if wanted == ME:
            return call.principal.user_id
        if not canonical_uuid(wanted):
            raise NotFound
        return wanted


def _check(limits: list[Limit]) -> None:
    seen: set[str] = set()
    for at, limit in enumerate(limits):
        if limit.asset in seen:
            raise InvalidFields(violations=(Violation(f"#/limits/{at}/asset", "stands twice"),))
        if limit.per_transfer is None and limit.per_day is None:
            raise InvalidFields(violations=(Violation(f"#/limits/{at}", "needs per_transfer, per_day or both"),))
        seen.add(limit.asset)


def _answer(version: int, limits: list[Limit]) -> web.Response:
    shown = [
        {"asset": limit.asset, "per_transfer": limit.per_transfer, "per_day": limit.per_day}
        for limit in sorted(limits, key=lambda limit: limit.asset)
    ]
    return data({"limits": shown}, headers={"ETag": etag(version)})

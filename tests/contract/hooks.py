"""What schemathesis is told besides the document: one more check, and what must not be sent as it was made up."""

from __future__ import annotations

import re
from typing import Any

import schemathesis

from bitnexus.http.openapi.headers import PARAMETERS
from bitnexus.webhooks.addresses import complaint

#: Codes by which a request is refused for its form: what obeys the document must not meet them.
OF_FORM = {"bad_request", "invalid_fields", "unsupported_media_type", "payload_too_large"}
#: Rules that hold between two parts of a request, for a whole, or for what there is: no schema can say them.
BEYOND_SCHEMAS = re.compile(
    r"""\#/(?:account|transaction|transactions/\d+)/id\ cannot\ be\ given\ together\ with\ an\ Idempotency-Key
    |   \#/account/asset\ There\ is\ no\ such\ asset
    |   \#/.*/metadata\ (?:Must\ not\ be\ nested\ that\ deep|must\ not\ exceed\ 4096\ bytes\ of\ JSON)
    |   \#/purchase/quantity\ the\ price\ of\ so\ many\ is\ beyond\ what\ can\ be\ paid\ at\ once
    |   \#/query/at\ (?:must\ not\ exceed\ the\ newest\ event,\ -?\d+|is\ not\ a\ date\ and\ time\ that\ exist)
    |   \#/notifications/read_up_to\ there\ are\ \d+\ notifications
    |   \#/limits/\d+/asset\ stands\ twice
    |   \#/query/old\ must\ not\ exceed\ new
    |   \#/webhook/url\ Must\ (?:be\ (?:a\ URL.*|https)|have\ no\ user,\ password\ or\ fragment|not\ lead\ to\ .*)
    |   \#/user/current_password\ (?:Field\ required|Is\ not\ your\ password)
    """,
    re.VERBOSE,
)
#: Parameters that say how long to watch the node.
_WAITS = {"/api/v1/admin/tree/trace": "within_s", "/api/v1/admin/tree/top": "for_s"}
WAITED_S = 0.1
_CONDITIONS = ("If-Match", "If-None-Match")
_TAGS = re.compile(PARAMETERS["IfMatch"]["schema"]["pattern"])


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Keep the service alive, the run short, and what is meant to be well formed so."""
    path = case.operation.path
    if path.startswith("/api/v1/admin/tree/") and isinstance(case.body, dict):
        for fields in case.body.values():
            if isinstance(fields, dict):
                fields["dry_run"] = True
    _keep_to_ourselves(case.body)
    if not _is_well_formed(case):
        return
    asks = _WAITS.get(path)
    if asks is not None and isinstance(case.query, dict):
        case.query[asks] = WAITED_S
    for name in _CONDITIONS:
        given = (case.headers or {}).get(name)
        if isinstance(given, str) and not _TAGS.match(given):
            case.headers[name] = "*"


def _keep_to_ourselves(body: Any) -> None:
    """A webhook that would be taken leads nowhere: nobody is to be called whose name was made up."""
    fields = body.get("webhook") if isinstance(body, dict) else None
    if not isinstance(fields, dict):
        return
    url = fields.get("url")
    if isinstance(url, str) and complaint(url, may_be_private=True) is None:
        fields["url"] = "https://hooks.invalid/"


@schemathesis.check
def well_formed_is_not_refused_for_its_form(ctx: Any, response: Any, case: Any) -> None:
    """A request that obeys the document may be refused, but not for its form."""
    if not _is_well_formed(case) or response.status_code < 400:
        return
    if "problem+json" not in (response.headers.get("content-type") or [""])[0]:
        return
    problem = response.json()
    if problem["code"] not in OF_FORM:
        return
    told = problem.get("pointers", ())
    assert told, problem
    for each in told:
        excused = BEYOND_SCHEMAS.fullmatch(f"{each['pointer']} {each['detail']}")
        assert excused or _is_integral(case.body, each["pointer"]), f"refused for its form: {problem}"


def _is_well_formed(case: Any) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


def _is_integral(body: Any, pointer: str) -> bool:
    """Whether a number such as 2.0 stands there: JSON Schema takes it for an integer, this service does not."""
    found = body
    for part in pointer.removeprefix("#/").split("/"):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return False
    return isinstance(found, float) and found.is_integer()

"""From bytes to a model: JSON as strict as RFC 8259 allows, then pydantic. Nothing else reaches an actor.

orjson reads what is flat and plain, as nearly every body is, the standard decoder the rest: it alone shows duplicate
keys, and says what is wrong where. Pydantic validates what they give: together 2 µs for a transfer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, NoReturn, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from bitnexus.errors import BadRequest, InvalidFields, Violation

T = TypeVar("T")

MAX_VIOLATIONS: Final = 20
#: For rules whose own message shows what is inside: a regular expression, the name of a class.
_PLAIN_MESSAGES: Final = {
    "string_pattern_mismatch": "Does not have the required form",
    "model_type": "Must be an object",
    "extra_forbidden": "Unknown field",
}
MAX_JSON_DEPTH: Final = 8
#: In the place of the schema of :data:`JsonObject`, which is recursive (see bitnexus.http.openapi.json_values).
JSON_OBJECT: Final = {"type": "object", "format": "json-object"}
MAX_SAFE_INTEGER: Final = 2**53 - 1  # exact in every JSON client


class Model(BaseModel):
    """Base of what comes from outside: no unknown fields, no conversions between types, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class QueryModel(BaseModel):
    """Base of query strings: everything arrives as text, so numbers are read from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


#: Text without null bytes (PostgreSQL cannot store them); pydantic refuses lone surrogates itself.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
#: A UUID in canonical form; upper case is accepted and lowered.
UuidText = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$", to_lower=True),
]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadRequest("The JSON has an object with the same key twice")
    return found


def _not_json(name: str) -> NoReturn:
    raise BadRequest(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_not_json)


#: What a member of a flat object may be for :func:`_members` to count it: of a number of many digits or of something
#: nested the strict parser has its own opinion.
_FLAT: Final = frozenset({str, int, bool, type(None)})


def _members(value: object) -> int:
    """How many members a flat object has, or an object of flat objects, in all; -1 for anything else."""
    if type(value) is not dict:
        return -1
    count = len(value)
    for member in value.values():
        if type(member) is dict:
            count += len(member)
            if not _FLAT.issuperset(map(type, member.values())):
                return -1
        elif type(member) not in _FLAT:
            return -1
    return count


def parse_json(body: bytes) -> object:
    """The value of a JSON text in UTF-8.

    Raises:
        BadRequest: not UTF-8, not JSON, a key twice in one object, NaN or Infinity, a number of more than 4,300
            digits, nested too deep to parse.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        pass  # what is wrong, the strict parser says
    else:
        # Each member has a colon. With as many of them as there are members no key can have come twice: orjson keeps
        # the last one, and does not tell. Nearly every body is so, and is read in a quarter of the time.
        if body.count(b":") == _members(value):
            return value
    try:
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error.msg} at character {error.pos}") from error
    except ValueError as error:  # the interpreter's bound on the digits of an integer
        raise BadRequest("The JSON has a number that is too long") from error
    except RecursionError as error:
        raise BadRequest("The JSON is nested too deep") from error


def _check_json(value: object, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if depth == 0:
            raise PydanticCustomError("depth", "Must not be nested that deep")
        if isinstance(value, dict):
            for key in value:
                _check_text(key)
        for item in value.values() if isinstance(value, dict) else value:
            _check_json(item, depth - 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(value)


def _check_text(text: str) -> None:
    if "\x00" in text or (not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)):
        raise PydanticCustomError("text", "Text must not have null bytes or surrogates")


def _check_number(number: float) -> None:
    # Integers beyond 2^53 change in clients that read them as floats; JSON's 1e999 is read as infinity.
    exact = abs(number) <= MAX_SAFE_INTEGER if isinstance(number, int) else math.isfinite(number)
    if not exact:
        raise PydanticCustomError("number", "Numbers must be finite, integers within ±(2^53-1)")


def _json_object(value: dict[str, Any]) -> dict[str, Any]:
    _check_json(value, MAX_JSON_DEPTH)
    return value


#: Any JSON object whose numbers and texts survive a round trip through every JSON library.
JsonObject = Annotated[dict[str, Any], AfterValidator(_json_object), WithJsonSchema(dict(JSON_OBJECT))]


def validate(adapter: TypeAdapter[T], value: object) -> T:
    """The model of a parsed body.

    Raises:
        InvalidFields: with a pointer and a message for each broken rule (the first 20).
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise _invalid(error, "#") from error


def validate_query(adapter: TypeAdapter[T], query: Mapping[str, str]) -> T:
    """The model of a query string; `InvalidFields` as in :func:`validate`. A parameter given twice is refused."""
    values = dict(query)
    if len(values) != len(query):
        raise InvalidFields(violations=(Violation("#/query", "a parameter is given twice"),))
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        raise _invalid(error, "#/query") from error


def _invalid(error: ValidationError, root: str) -> InvalidFields:
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False)[:MAX_VIOLATIONS]:
        path = "/".join(_pointer_part(part) for part in item["loc"])
        message = _PLAIN_MESSAGES.get(item["type"], item["msg"])
        found.append(Violation(f"{root}/{path}" if path else root, message))
    return InvalidFields(violations=tuple(found))


def _pointer_part(part: int | str) -> str:
    # The name of an unknown field is the client's own text: it may be long or hold surrogates.
    text = str(part)[:64].encode("utf-8", "replace").decode()
    return text.replace("~", "~0").replace("/", "~1")

"""The schemas of what clients may keep as metadata: JSON that survives a round trip through every library. Pure."""

from __future__ import annotations

from typing import Any, Final

from bitnexus.http.validation import JSON_OBJECT, MAX_JSON_DEPTH, MAX_SAFE_INTEGER

_NO_NULL_BYTES: Final = {"type": "string", "pattern": r"^[^\x00]*$"}
_VALUE: Final = {"$ref": "#/components/schemas/JsonValue"}
_OBJECT: Final = {"type": "object", "propertyNames": _NO_NULL_BYTES, "additionalProperties": _VALUE}
COMPONENTS: Final[dict[str, Any]] = {
    "JsonObject": {
        **_OBJECT,
        "description": f"Any JSON object, at most {MAX_JSON_DEPTH} deep; numbers finite, integers within ±(2^53-1).",
    },
    "JsonValue": {
        "anyOf": [
            {"type": "null"},
            {"type": "boolean"},
            _NO_NULL_BYTES,
            {"type": "integer", "minimum": -MAX_SAFE_INTEGER, "maximum": MAX_SAFE_INTEGER},
            {"type": "number", "not": {"type": "integer"}},
            {"type": "array", "items": _VALUE},
            _OBJECT,
        ]
    },
}


def with_references(node: Any) -> Any:  # noqa: ANN401 - any part of a document
    """The schema, with a reference to JsonObject wherever it is meant."""
    if isinstance(node, dict):
        if node.items() >= JSON_OBJECT.items():
            return {"$ref": "#/components/schemas/JsonObject"}
        return {key: with_references(value) for key, value in node.items()}
    return [with_references(each) for each in node] if isinstance(node, list) else node

"""The last net under secrets in log lines: values are filtered by the name of their key, and bounded in size.

Code must not log a secret in the first place; this catches the day it does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from pydantic import BaseModel, SecretBytes, SecretStr

from bitnexus.config.settings import mask_passwords

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

FILTERED = "[filtered]"
#: Longest text in a field, in characters; the middle of a longer one is left out.
LONGEST_TEXT = 8192
#: Deepest nesting and most items of a container that are shown.
DEEPEST, MOST_ITEMS = 6, 200

_SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|pwd|secret|token|cookie|authorization|api_?key|private_?key|signing_?key|credential"
    r"|session_?id|database_url|dsn|bearer|jwt",
    re.IGNORECASE,
)
# Header values and assignments that were formatted into a text: by name as well, to the end of the word.
_SECRET_IN_TEXT = re.compile(
    r"(?i)(\bbearer\s+|\b(?:[a-z_]*(?:password|secret|token|cookie|secret_key_base(?:_old)?))['\"]?\s*[=:]\s*['\"]?)"
    # One secret, and those that follow with commas, as in SECRET_KEY_BASE_OLD.
    r"(?!\[filtered\])[^\s'\",;&]{4,}(?:,[^\s'\",;&=]{16,})*"
)


def filtered(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: secrets by key name, SecretStr values and passwords in addresses are masked."""
    for key, value in event.items():
        if not key.startswith("_"):  # structlog's own, for the formatter
            event[key] = _clean(key, value, 0)
    return event


def bounded(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: no text field is longer than LONGEST_TEXT; its head and its tail are kept."""
    for key, value in event.items():
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            half = LONGEST_TEXT // 2
            event[key] = f"{value[:half]} …[{len(value) - 2 * half} characters left out]… {value[-half:]}"
    return event


def _clean(key: object, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, SecretStr | SecretBytes) or (isinstance(key, str) and _SECRET_KEY.search(key)):
        return FILTERED
    if isinstance(value, str):
        return _SECRET_IN_TEXT.sub(rf"\1{FILTERED}", mask_passwords(value))
    if isinstance(value, int | float):
        return value if math.isfinite(value) else repr(value)  # JSON has no word for the others
    if depth >= DEEPEST:
        return "…"
    return _clean_container(value, depth + 1)


def _clean_container(value: object, depth: int) -> object:
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    elif isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _clean(key, item, depth) for key, item in list(value.items())[:MOST_ITEMS]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(None, item, depth) for item in list(value)[:MOST_ITEMS]]
    return _clean(None, _text(value)[:LONGEST_TEXT], depth)


def _text(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a log line must not fail for a broken repr of what it shows
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"

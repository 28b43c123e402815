"""Entity tags and the conditions on them (RFC 9110, 8.8.3 and 13.1). Pure.

A tag is made of the version of what clients can write, and of what else an answer shows. `If-None-Match` compares all
of it. `If-Match` guards writes against each other, so it compares the version alone: that a product was sold meanwhile
is no reason to refuse its new price.
"""

from __future__ import annotations

import re
from typing import Final

from bitnexus.errors import BadRequest, PreconditionRequired

_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_LIST: Final = re.compile(rf"[ \t,]*{_TAG.pattern}(?:[ \t]*,[ \t,]*{_TAG.pattern})*[ \t,]*")
_OPAQUE: Final = re.compile(r"([0-9]{1,18})(?:-.*)?", re.ASCII)
ANY: Final = "*"


def etag(version: int, *rest: int) -> str:
    """The tag of a version, with what else the answer depends on."""
    return '"' + "-".join(map(str, (version, *rest))) + '"'


def versions_to_match(if_match: str | None) -> frozenset[int] | None:
    """The versions that a write may replace; None: any there is.

    Weak tags and those of other services match nothing.

    Raises:
        PreconditionRequired: there is no condition.
        BadRequest: it is malformed.
    """
    if if_match is None:
        raise PreconditionRequired("Send the ETag of the version you have read as If-Match, or If-Match: *")
    tags = _tags(if_match, "If-Match")
    if tags is None:
        return None
    found = [_OPAQUE.fullmatch(opaque) for weak, opaque in tags if not weak]
    return frozenset(int(each[1]) for each in found if each)


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether the client has what this tag stands for.

    Raises:
        BadRequest: the header is malformed.
    """
    if if_none_match is None:
        return False
    tags = _tags(if_none_match, "If-None-Match")
    return tags is None or any(f'"{opaque}"' == tag for _, opaque in tags)


def _tags(header: str, name: str) -> list[tuple[str, str]] | None:
    """(``W/`` or nothing, what stands between the quotes) of each tag; None for ``*``."""
    if header.strip(" \t") == ANY:
        return None
    if _LIST.fullmatch(header) is None:
        raise BadRequest(f"{name} must be * or a list of quoted entity tags")
    return _TAG.findall(header)

"""Which topics there are, and who may join them. Pure."""

from __future__ import annotations

import enum
import re
from typing import Final

from bitnexus.principal import Principal

_USER_TOPIC = re.compile(
    r"(?:transaction|notification):(?P<user_id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})", re.ASCII
)
_FAMILIES: Final = ("transaction:", "notification:", "admin:")
ADMIN_TREE: Final = "admin:tree"
ADMIN_METRICS: Final = "admin:metrics"
ADMIN_LOG: Final = "admin:log"
_OPERATORS: Final = frozenset({ADMIN_TREE, ADMIN_METRICS, ADMIN_LOG})


class Verdict(enum.Enum):
    """The answer to a join."""

    ALLOWED = "allowed"
    FORBIDDEN = "unauthorized"
    UNKNOWN = "unmatched topic"


def family(topic: str) -> str:
    """What the topic is about, whosever it is: ``transaction`` of ``transaction:<user_id>``."""
    return topic.partition(":")[0]


def is_operators(topic: str) -> bool:
    """Whether it is one of the operators' topics: what happens in the node, not in the ledger."""
    return topic in _OPERATORS


def judge(topic: str, principal: Principal) -> Verdict:
    """May this caller join the topic?

    ``transaction:<user_id>``, ``notification:<user_id>``: the user, or an admin; ``admin:…``: admins.
    """
    if not topic.startswith(_FAMILIES):
        return Verdict.UNKNOWN
    if is_operators(topic):
        return Verdict.ALLOWED if principal.is_admin else Verdict.FORBIDDEN
    match = _USER_TOPIC.fullmatch(topic)
    # A topic that nobody owns is forbidden to users as somebody else's is: no difference to probe for.
    if match is None:
        return Verdict.UNKNOWN if principal.is_admin else Verdict.FORBIDDEN
    if principal.is_admin or match["user_id"] == principal.user_id:
        return Verdict.ALLOWED
    return Verdict.FORBIDDEN

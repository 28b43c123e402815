"""What follows from an attempt to deliver: delivered, again later, given up, or the end of the endpoint. Pure.

    answer                                       verdict       then
    2xx                                          delivered     the next event
    410                                          gone          the endpoint is disabled; its position stays
    none, or 408 425 429 502 503 504             unavailable   the same event again, for `give_up_s` of downtime
    any other, redirects among them              refused       the same event again, `max_attempts` times in all

An event that is given up is a dead letter, and the next one is sent. So a receiver that chokes on one event gets the
others, and one that is down gets all of them in order when it is back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Verdict = Literal["delivered", "gone", "unavailable", "refused"]
Next = Literal["on", "again", "dead", "disable"]

FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 60.0
_GONE: Final = 410
_UNAVAILABLE: Final = frozenset({408, 425, 429, 502, 503, 504})
_LONGEST_EXPONENT: Final = 16


@dataclass(frozen=True, slots=True)
class Policy:
    """When an event is given up."""

    max_attempts: int = 8
    give_up_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one ended: the answer's `status`, or None and what went wrong. `retry_after_s` is what the receiver asked."""

    status: int | None
    error: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the event that is next: attempts so far, and since when its endpoint has been unavailable."""

    attempts: int = 0
    unavailable_since_s: float | None = None


def judge(attempt: Attempt) -> Verdict:
    """What the answer means."""
    if attempt.status is None or attempt.status in _UNAVAILABLE:
        return "unavailable"
    if 200 <= attempt.status < 300:  # noqa: PLR2004 - the class of statuses
        return "delivered"
    return "gone" if attempt.status == _GONE else "refused"


def after(attempt: Attempt, before: Standing, policy: Policy, now_s: float) -> tuple[Next, Standing]:
    """What to do now, and how it stands then."""
    verdict = judge(attempt)
    if verdict == "delivered":
        return "on", Standing()
    if verdict == "gone":
        return "disable", Standing(before.attempts + 1, before.unavailable_since_s)
    attempts = before.attempts + 1
    if verdict == "refused":
        return ("dead", Standing()) if attempts >= policy.max_attempts else ("again", Standing(attempts))
    since_s = now_s if before.unavailable_since_s is None else before.unavailable_since_s
    if now_s - since_s >= policy.give_up_s:
        # The next one is given up as well if it does not arrive: the endpoint has been down for long enough.
        return "dead", Standing(0, since_s)
    return "again", Standing(attempts, since_s)


def delay_s(standing: Standing, attempt: Attempt, chance: float) -> float:
    """How long to wait before the next attempt: exponential with a ceiling; `chance` (0 to 1) takes up to half off.

    What the receiver asked for in Retry-After counts, up to the ceiling.
    """
    exponent = min(max(standing.attempts - 1, 0), _LONGEST_EXPONENT)
    grown_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0**exponent)
    return max(grown_s * (1 - chance / 2), min(attempt.retry_after_s, LONGEST_DELAY_S))

"""The rules that every supervisor follows, restart type by exit reason, as OTP has them. Pure.

| restart   | normal, shutdown, (shutdown, …)   | any other |
|-----------|-----------------------------------|-----------|
| permanent | restart                           | restart   |
| transient | keep (a dynamic child is deleted) | restart   |
| temporary | delete                            | delete    |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from bitnexus.actors.runtime.reasons import SHUTDOWN, ExitReason
from bitnexus.supervision.events import How
from bitnexus.supervision.spec import Restart

#: Gives a random number, 0 <= number < 1.
Chance: TypeAlias = Callable[[], float]

AfterExit = Literal["restart", "keep", "delete"]

#: What the exit of a running child leads to: (restart type, did it end normally) -> what follows.
AFTER_EXIT: Final[dict[tuple[Restart, bool], AfterExit]] = {
    ("permanent", True): "restart",
    ("permanent", False): "restart",
    ("transient", True): "keep",
    ("transient", False): "restart",
    ("temporary", True): "delete",
    ("temporary", False): "delete",
}


def after_exit(restart: Restart, reason: ExitReason) -> AfterExit:
    """What follows when a child of this restart type ends by itself."""
    return AFTER_EXIT[restart, reason.is_normal]


def is_worth_a_report(restart: Restart, reason: ExitReason) -> bool:
    """A child's end by itself is news unless it was normal and allowed to be."""
    return restart == "permanent" or not reason.is_normal


def is_clean_stop(restart: Restart, asked: How, reason: ExitReason) -> bool:
    """A child that had to stop ended as it was first asked to, or normally where that is allowed."""
    if asked == "kill" and reason.is_kill:
        return True
    if asked == "shutdown" and reason == SHUTDOWN:
        return True
    return restart != "permanent" and reason.is_normal


def no_jitter() -> float:
    """The chance of a machine that is to be the same in every run."""
    return 0.0

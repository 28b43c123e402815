"""What a supervisor is told: the specification of each child, and the supervisor's own flags.

The fields, defaults and names of errors are those of OTP's ``supervisor`` (``child_spec()``, ``sup_flags()``), with
an intensity of 3 restarts in 5 s as Elixir has it. Both are checked when they are made: :class:`SpecError` names
the reason, the field and its value.

>>> ChildSpec("ledger", ProcessStart("bitnexus.actors.ledger.actor:Ledger"))
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast, get_args

Restart = Literal["permanent", "transient", "temporary"]
ChildType = Literal["worker", "supervisor"]
#: Milliseconds, or one of the two words.
ShutdownTime = int | Literal["brutal_kill", "infinity"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]

SHUTDOWN_BY_TYPE: Final[Mapping[ChildType, ShutdownTime]] = {"worker": 5000, "supervisor": "infinity"}
#: Stands for "not given" until __post_init__ knows the type.
_BY_TYPE: Final = cast("ShutdownTime", None)
_CLASS_PATH: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class SpecError(ValueError):
    """A child specification or a supervisor's flags are not valid."""

    def __init__(self, reason: str, field_name: str, value: object) -> None:
        super().__init__(f"{reason}: {field_name} = {value!r}")
        self.reason = reason
        self.field = field_name
        self.value = value


@dataclass(frozen=True, slots=True)
class ProcessStart:
    """How a child that is a process starts: ``process`` is ``"module:Class"``, ``args`` is picklable."""

    process: str
    args: Mapping[str, object] = field(default_factory=dict, repr=False)  # may hold what must not be logged

    def __post_init__(self) -> None:
        _check_process(self.process)
        _check_args(self.args)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a child waits before each restart: `first_s`, then `factor` times as long, and so on to `ceiling_s`.

    `jitter` is the share of a wait that chance may take away (0: none, 1: all), so that children that failed together
    do not come back together. A child that has run for `reset_after_s` begins anew. Raises :class:`SpecError`.
    """

    first_s: float = 0.1
    factor: float = 2.0
    ceiling_s: float = 30.0
    jitter: float = 0.2
    reset_after_s: float = 60.0

    def __post_init__(self) -> None:
        _check_backoff_times(self)
        _check_factor(self.factor)
        _check_jitter(self.jitter)

    def wait_s(self, failures: int, chance: float) -> float:
        """The wait after this many failures in a row, 1 or more; `chance` is random, 0 <= chance < 1."""
        assert failures > 0, failures
        steps = failures - 1
        if steps and steps * math.log(self.factor) >= math.log(self.ceiling_s / self.first_s):
            wait_s = self.ceiling_s if self.factor > 1 else self.first_s
        else:
            wait_s = self.first_s * self.factor**steps
        return wait_s * (1 - self.jitter * chance)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child of a supervisor.

    ``start`` is opaque to the supervision core: the driver knows what to do with it (:class:`ProcessStart`).
    ``shutdown`` defaults to 5000 ms for a worker and ``"infinity"`` for a supervisor. ``heartbeat_timeout_s`` and
    ``max_rss`` (bytes) are limits that the driver watches; None is no limit. Without ``backoff`` a restart is tried at
    once, and again at once if it fails, as OTP does. Raises :class:`SpecError`.
    """

    id: str
    start: object
    restart: Restart = "permanent"
    shutdown: ShutdownTime = _BY_TYPE
    type: ChildType = "worker"
    significant: bool = False
    backoff: Backoff | None = None
    heartbeat_timeout_s: float | None = 3.0
    max_rss: int | None = None

    def __post_init__(self) -> None:
        _check_id(self.id)
        _check_start(self.start)
        _check_restart(self.restart)
        _check_type(self.type)
        if self.shutdown is _BY_TYPE:
            object.__setattr__(self, "shutdown", SHUTDOWN_BY_TYPE[self.type])
        _check_shutdown(self.shutdown)
        _check_significant(self.significant, self.restart)
        _check_backoff(self.backoff)
        _check_heartbeat_timeout_s(self.heartbeat_timeout_s)
        _check_max_rss(self.max_rss)

    @property
    def stop_within_s(self) -> float | None:
        """Seconds from asking to killing; None where it is never asked (brutal_kill) or never killed (infinity)."""
        return self.shutdown / 1000 if isinstance(self.shutdown, int) else None


@dataclass(frozen=True, slots=True)
class SupervisorFlags:
    """How a supervisor treats its children; ``intensity`` restarts are allowed in ``period_s``. Raises SpecError.

    With ``replicas`` each child can do the work of all: an operator's restart of the supervisor is one of its children,
    one after another. The machine does not look at it.
    """

    strategy: Strategy = "one_for_one"
    intensity: int = 3
    period_s: float = 5
    auto_shutdown: AutoShutdown = "never"
    replicas: bool = False

    def __post_init__(self) -> None:
        _check_strategy(self.strategy)
        _check_intensity(self.intensity)
        _check_period_s(self.period_s)
        _check_auto_shutdown(self.auto_shutdown)
        _check_replicas(self.replicas, self.strategy)


def check_specs(flags: SupervisorFlags, specs: Iterable[ChildSpec]) -> None:
    """Check what only the whole can tell: ids are unique, and each spec may live under these flags.

    Raises :class:`SpecError` (``duplicate_child_name``, ``bad_combination``).
    """
    seen: set[str] = set()
    for spec in specs:
        if spec.id in seen:
            raise SpecError("duplicate_child_name", "id", spec.id)
        seen.add(spec.id)
        check_spec_under(flags, spec)


def check_spec_under(flags: SupervisorFlags, spec: ChildSpec) -> None:
    """Check that a spec may live under these flags. Raises :class:`SpecError` (``bad_combination``)."""
    if spec.significant and flags.auto_shutdown == "never":
        raise SpecError("bad_combination", "significant", {"auto_shutdown": "never", "significant": True})


# -- one small function a field ----------------------------------------------------------------------------------


def is_int(value: object) -> bool:
    """An int that is no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_positive(value: object) -> bool:
    """A finite number above zero."""
    # NaN and infinity would make every comparison of times meaningless.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _check_id(value: object) -> None:
    # Ids are joined by "/" to the paths that operators use.
    if not isinstance(value, str) or not value or "/" in value:
        raise SpecError("invalid_id", "id", value)


def _check_start(value: object) -> None:
    if value is None:
        raise SpecError("missing_start", "start", value)


def _check_process(value: object) -> None:
    if not (isinstance(value, str) and _CLASS_PATH.fullmatch(value)):
        raise SpecError("invalid_start", "process", value)


def _check_args(value: object) -> None:
    if not isinstance(value, Mapping):
        # The type alone: arguments may hold what must not be printed.
        raise SpecError("invalid_start", "args", type(value).__name__)


def _check_restart(value: object) -> None:
    if value not in get_args(Restart):
        raise SpecError("invalid_restart_type", "restart", value)


def _check_type(value: object) -> None:
    if value not in get_args(ChildType):
        raise SpecError("invalid_child_type", "type", value)


def _check_shutdown(value: object) -> None:
    if value in ("brutal_kill", "infinity"):
        return
    if not (isinstance(value, int) and is_int(value) and value >= 0):
        raise SpecError("invalid_shutdown", "shutdown", value)


def _check_significant(value: object, restart: Restart) -> None:
    if not isinstance(value, bool):
        raise SpecError("invalid_significant", "significant", value)
    if value and restart == "permanent":
        raise SpecError("bad_combination", "significant", {"restart": "permanent", "significant": True})


def _check_backoff(value: object) -> None:
    if not (value is None or isinstance(value, Backoff)):
        raise SpecError("invalid_backoff", "backoff", value)


def _check_backoff_times(value: Backoff) -> None:
    for name in ("first_s", "ceiling_s", "reset_after_s"):
        if not is_positive(getattr(value, name)):
            raise SpecError("invalid_backoff", name, getattr(value, name))
    if value.ceiling_s < value.first_s:
        raise SpecError("bad_combination", "ceiling_s", {"first_s": value.first_s, "ceiling_s": value.ceiling_s})


def _check_factor(value: object) -> None:
    if not (is_positive(value) and isinstance(value, int | float) and value >= 1):
        raise SpecError("invalid_backoff", "factor", value)


def _check_jitter(value: object) -> None:
    if isinstance(value, bool) or not (isinstance(value, int | float) and 0 <= value <= 1):
        raise SpecError("invalid_backoff", "jitter", value)


def _check_heartbeat_timeout_s(value: object) -> None:
    if not (value is None or is_positive(value)):
        raise SpecError("invalid_heartbeat_timeout", "heartbeat_timeout_s", value)


def _check_max_rss(value: object) -> None:
    if not (value is None or (is_int(value) and is_positive(value))):
        raise SpecError("invalid_max_rss", "max_rss", value)


def _check_strategy(value: object) -> None:
    if value not in get_args(Strategy):
        raise SpecError("invalid_strategy", "strategy", value)


def _check_intensity(value: object) -> None:
    if not (isinstance(value, int) and is_int(value) and value >= 0):
        raise SpecError("invalid_intensity", "intensity", value)


def _check_period_s(value: object) -> None:
    if not is_positive(value):
        raise SpecError("invalid_period", "period_s", value)


def _check_auto_shutdown(value: object) -> None:
    if value not in get_args(AutoShutdown):
        raise SpecError("invalid_auto_shutdown", "auto_shutdown", value)


def _check_replicas(value: object, strategy: Strategy) -> None:
    if not isinstance(value, bool):
        raise SpecError("invalid_replicas", "replicas", value)
    if value and strategy != "one_for_one":  # children that must fall together cannot stand in for each other
        raise SpecError("bad_combination", "replicas", {"strategy": strategy, "replicas": True})

"""What a dynamic supervisor is told: its flags, and the restart budget of each of its children.

Names and defaults are those of Elixir's ``DynamicSupervisor``; budget and quarantine are additions.
"""

from __future__ import annotations

from dataclasses import dataclass

from bitnexus.supervision.spec import SpecError, is_int, is_positive


@dataclass(frozen=True, slots=True)
class Budget:
    """Each child may be restarted `restarts` times in `period_s`; the next time it is set aside for `quarantine_s`.

    A child that comes out of its quarantine has its whole budget again. Raises :class:`SpecError`.
    """

    restarts: int = 3
    period_s: float = 5
    quarantine_s: float = 30

    def __post_init__(self) -> None:
        if not (is_int(self.restarts) and self.restarts >= 0):
            raise SpecError("invalid_budget", "restarts", self.restarts)
        for name in ("period_s", "quarantine_s"):
            if not is_positive(getattr(self, name)):
                raise SpecError("invalid_budget", name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class DynamicFlags:
    """How a dynamic supervisor treats its children; the strategy is one_for_one.

    Without `budget`, all children share `intensity` restarts in `period_s`, as in OTP: the next one ends the
    supervisor. With `budget`, each child has its own and the supervisor goes on; `intensity` is not looked at.

    `on_demand`: children come and go without the supervisor, which hears of one when it crashes. It remembers those
    that have crashed lately and nobody else. The driver starts a child when there is work for it, unless
    :meth:`~bitnexus.supervision.dynamic.DynamicMachine.refusal` says no. Raises :class:`SpecError`.
    """

    max_children: int | None = None
    intensity: int = 3
    period_s: float = 5
    budget: Budget | None = None
    on_demand: bool = False

    def __post_init__(self) -> None:
        if not (self.max_children is None or (is_int(self.max_children) and self.max_children >= 0)):
            raise SpecError("invalid_max_children", "max_children", self.max_children)
        if not (is_int(self.intensity) and self.intensity >= 0):
            raise SpecError("invalid_intensity", "intensity", self.intensity)
        if not is_positive(self.period_s):
            raise SpecError("invalid_period", "period_s", self.period_s)
        if not (self.budget is None or isinstance(self.budget, Budget)):
            raise SpecError("invalid_budget", "budget", self.budget)

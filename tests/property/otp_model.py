"""A plain model of supervisors, written from OTP's and Elixir's documentation and docs/supervision.md.

It blocks, as theirs do: each event is carried through before the next one is looked at. What it starts and stops
it tells a :class:`World`, which says how each start goes. It shares no code with the package. The test that drives it
beside the real machines is test_supervisors_against_otp.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PERMANENT, TRANSIENT, TEMPORARY = "permanent", "transient", "temporary"
UP, DOWN, RESTARTING, QUARANTINED = "up", "down", "restarting", "quarantined"


@dataclass
class World:
    """How the next starts go ("up", "ignore", "fail"; then all "up"), and what was started and stopped so far."""

    outcomes: list[str] = field(default_factory=list)
    trace: list[tuple[str, str]] = field(default_factory=list)

    def start(self, child: str) -> str:
        self.trace.append(("start", child))
        return self.outcomes.pop(0) if self.outcomes else "up"

    def stop(self, child: str) -> None:
        self.trace.append(("stop", child))


@dataclass
class Child:
    id: str
    restart: str
    significant: bool = False
    state: str = DOWN


class Intensity:
    """At most `allowed` restarts whose times lie within the period before now, both ends included."""

    def __init__(self, allowed: int, period: float) -> None:
        self.allowed, self.period = allowed, period
        self.times: list[float] = []

    def permits(self, now: float) -> bool:
        self.times = [at for at in [*self.times, now] if at >= now - self.period]
        return len(self.times) <= self.allowed


class StaticModel:
    """A supervisor with a list of children, in start order."""

    def __init__(self, strategy: str, intensity: Intensity, auto_shutdown: str, children: list[Child]) -> None:
        self.strategy, self.intensity, self.auto_shutdown = strategy, intensity, auto_shutdown
        self.children = children
        self.exit: str | None = None  # the reason, once it has ended

    def boot(self, world: World) -> None:
        for child in list(self.children):
            if self._start(child, world) == "fail":
                self._end(f"failed_to_start_child {child.id}", world)
                return

    def rows(self) -> dict[str, str]:
        return {child.id: child.state for child in self.children}

    # -- what happens to children ---------------------------------------------------------------------------------

    def exited(self, child_id: str, *, normal: bool, now: float, world: World) -> None:
        child = self._find(child_id)
        child.state = DOWN
        if child.restart == PERMANENT or (child.restart == TRANSIENT and not normal):
            self._restart(child, now, world)
            return
        if child.restart == TEMPORARY:
            self.children.remove(child)
        if child.significant and self._shuts_down():
            self._end("shutdown", world)

    def try_again(self, child_id: str, now: float, world: World) -> None:
        child = self._find(child_id)
        assert child.state == RESTARTING
        self._restart(child, now, world)

    def shutdown(self, world: World) -> None:
        self._end("shutdown", world)

    def _shuts_down(self) -> bool:
        if self.auto_shutdown == "any_significant":
            return True
        others = [child for child in self.children if child.significant and child.state != DOWN]
        return self.auto_shutdown == "all_significant" and not others

    def _restart(self, child: Child, now: float, world: World) -> None:
        if not self.intensity.permits(now):
            self._end("shutdown", world)
            return
        if self.strategy == "one_for_one":
            if self._start(child, world) == "fail":
                child.state = RESTARTING
            return
        first = 0 if self.strategy == "one_for_all" else self.children.index(child)
        affected = self.children[first:]
        for one in reversed(affected):
            self._stop(one, world)
        for one in affected:
            if one in self.children and self._start(one, world) == "fail":
                one.state = RESTARTING
                return

    def _start(self, child: Child, world: World) -> str:
        outcome = world.start(child.id)
        child.state = UP if outcome == "up" else DOWN
        if outcome == "ignore" and child.restart == TEMPORARY:
            self.children.remove(child)
        return outcome

    def _stop(self, child: Child, world: World) -> None:
        if child.state == UP:
            world.stop(child.id)
            if child.restart == TEMPORARY:
                self.children.remove(child)
        child.state = DOWN

    def _end(self, reason: str, world: World) -> None:
        for child in reversed(list(self.children)):
            self._stop(child, world)
        self.exit = reason

    # -- operators ------------------------------------------------------------------------------------------------

    def start_child(self, new: Child, world: World) -> str:
        for child in self.children:
            if child.id == new.id:
                return "already_started" if child.state == UP else "already_present"
        self.children.append(new)
        outcome = self._start(new, world)
        if outcome == "fail":
            self.children.remove(new)
            return "start_failed"
        return "ok"

    def restart_child(self, child_id: str, world: World) -> str:
        if (refusal := self._why_not_down(child_id)) is not None:
            return refusal
        return "start_failed" if self._start(self._find(child_id), world) == "fail" else "ok"

    def delete_child(self, child_id: str) -> str:
        if (refusal := self._why_not_down(child_id)) is not None:
            return refusal
        self.children.remove(self._find(child_id))
        return "ok"

    def terminate_child(self, child_id: str, world: World) -> str:
        if child_id not in self.rows():
            return "not_found"
        self._stop(self._find(child_id), world)
        return "ok"

    def _why_not_down(self, child_id: str) -> str | None:
        if child_id not in self.rows():
            return "not_found"
        return {UP: "running", RESTARTING: "restarting", DOWN: None}[self._find(child_id).state]

    def _find(self, child_id: str) -> Child:
        return next(child for child in self.children if child.id == child_id)


class DynamicModel:
    """A supervisor whose children come and go; with a budget, each child has an intensity of its own."""

    def __init__(
        self, restart: str, intensity: Intensity, max_children: int | None, budget: tuple[int, float] | None
    ) -> None:
        self.restart, self.intensity, self.max_children, self.budget = restart, intensity, max_children, budget
        self.children: dict[str, str] = {}
        self.budgets: dict[str, Intensity] = {}
        self.exit: str | None = None

    def rows(self) -> dict[str, str]:
        return dict(self.children)

    def start_child(self, child: str, world: World) -> str:
        if child in self.children:
            return {UP: "already_started", RESTARTING: "already_present", QUARANTINED: QUARANTINED}[
                self.children[child]
            ]
        if self.max_children is not None and len(self.children) >= self.max_children:
            return "max_children"
        outcome = world.start(child)
        if outcome == "up":
            self.children[child] = UP
        return "start_failed" if outcome == "fail" else "ok"

    def terminate_child(self, child: str, world: World) -> str:
        if child not in self.children:
            return "not_found"
        if self.children[child] == UP:
            world.stop(child)
        self._forget(child)
        return "ok"

    def release_child(self, child: str, world: World) -> str:
        if self.children.get(child) != QUARANTINED:
            return "not_quarantined" if child in self.children else "not_found"
        self.released(child, world)
        return "ok"

    def exited(self, child: str, *, normal: bool, now: float, world: World) -> None:
        if self.restart == PERMANENT or (self.restart == TRANSIENT and not normal):
            self.try_again(child, now, world)
        else:
            self._forget(child)

    def try_again(self, child: str, now: float, world: World) -> None:
        if self.budget is not None:
            if not self.budgets.setdefault(child, Intensity(*self.budget)).permits(now):
                self.children[child] = QUARANTINED
                return
        elif not self.intensity.permits(now):
            del self.children[child]
            self.shutdown(world)
            return
        self._start_again(child, world)

    def released(self, child: str, world: World) -> None:
        del self.budgets[child]
        self._start_again(child, world)

    def shutdown(self, world: World) -> None:
        for child, state in self.children.items():
            if state == UP:
                world.stop(child)
        self.children.clear()
        self.exit = "shutdown"

    def _start_again(self, child: str, world: World) -> None:
        outcome = world.start(child)
        if outcome == "ignore":
            self._forget(child)
        else:
            self.children[child] = UP if outcome == "up" else RESTARTING

    def _forget(self, child: str) -> None:
        del self.children[child]
        self.budgets.pop(child, None)

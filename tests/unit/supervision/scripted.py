"""A supervisor machine driven by hand, its effects as short words, so that a test reads as a story."""

from __future__ import annotations

from bitnexus.actors.runtime.reasons import SHUTDOWN, ExitReason, killed
from bitnexus.supervision import events as ev
from bitnexus.supervision.dynamic import DynamicMachine
from bitnexus.supervision.dynamic_flags import DynamicFlags
from bitnexus.supervision.machine import SupervisorMachine
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags

CRASH = killed(9)


def spec(child_id: str, **fields: object) -> ChildSpec:
    return ChildSpec(child_id, ProcessStart("some.module:Class"), **fields)  # type: ignore[arg-type]


def one(effect: ev.Effect) -> str:  # noqa: PLR0911  # one line a kind of effect
    match effect:
        case ev.Start(child_id, _):
            return f"start {child_id}"
        case ev.Stop(child_id, pid, how):
            return f"{how} {f'{child_id} (starting)' if pid is None else pid}"
        case ev.SetTimer(token, after_s):
            return f"timer {token} {after_s}"
        case ev.CancelTimer(token):
            return f"cancel {token}"
        case ev.Report(kind, child, _, reason, context):
            return f"report {kind} {child} ({reason}) {context}"
        case ev.Answer(ref, ev.Ok(pid)):
            return f"answer {ref}: ok {pid}"
        case ev.Answer(ref, ev.Error(code, detail)):
            return f"answer {ref}: {code} {detail}"
        case ev.Exit(reason):
            return f"exit ({reason})"
        case _:
            return type(effect).__name__.lower()


class Scripted:
    """`what` each method returns: the effects without progress reports and timers (those are in `effects`)."""

    def __init__(self, *children: ChildSpec | str, **flags: object) -> None:
        specs = [spec(child) if isinstance(child, str) else child for child in children]
        self.chance = 0.0
        self.machine = SupervisorMachine(SupervisorFlags(**flags), specs, chance=lambda: self.chance)  # type: ignore[arg-type]
        self.now = 1000.0
        self.effects: list[ev.Effect] = []
        self.pids: dict[str, str] = {}
        self.starts = 0

    def send(self, event: ev.Event) -> list[str]:
        self.effects = self.machine.handle(event, self.now)
        words = [one(effect) for effect in self.effects]
        return [word for word in words if not word.startswith(("report progress", "timer", "cancel"))]

    def up(self) -> Scripted:
        """Begin, and every start succeeds."""
        self.send(ev.Begin())
        while not any(isinstance(effect, ev.Running) for effect in self.effects):
            for effect in self.effects:
                if isinstance(effect, ev.Start):
                    self.started(effect.id)
        return self

    def started(self, child_id: str) -> list[str]:
        self.starts += 1
        self.pids[child_id] = f"{child_id}#{self.starts}"
        return self.send(ev.ChildStarted(child_id, self.pids[child_id]))

    def failed(self, child_id: str, reason: ExitReason = CRASH) -> list[str]:
        return self.send(ev.ChildStartFailed(child_id, reason))

    def ignored(self, child_id: str) -> list[str]:
        return self.send(ev.ChildIgnored(child_id))

    def exited(self, child_id: str, reason: ExitReason = CRASH) -> list[str]:
        return self.send(ev.ChildExited(child_id, self.pids[child_id], reason))

    def timer(self) -> list[str]:
        """The timer that the last event set fires."""
        (token,) = (effect.token for effect in self.effects if isinstance(effect, ev.SetTimer))
        return self.send(ev.TimerFired(token))

    def shutdown(self, reason: ExitReason = SHUTDOWN) -> list[str]:
        return self.send(ev.Shutdown(reason))

    def start_child(self, child: ChildSpec | str) -> list[str]:
        return self.send(ev.StartChild(spec(child) if isinstance(child, str) else child, "op"))

    def restart_child(self, child_id: str) -> list[str]:
        return self.send(ev.RestartChild(child_id, "op"))

    def delete_child(self, child_id: str) -> list[str]:
        return self.send(ev.DeleteChild(child_id, "op"))

    def terminate_child(self, child_id: str) -> list[str]:
        return self.send(ev.TerminateChild(child_id, "op"))

    @property
    def timers(self) -> list[float]:
        """The times of the timers that the last event set."""
        return [effect.after_s for effect in self.effects if isinstance(effect, ev.SetTimer)]

    @property
    def states(self) -> dict[str, object]:
        """which_children in start order."""
        return {row.id: row.child for row in reversed(self.machine.which_children())}

    @property
    def timers_cancelled(self) -> int:
        """How many timers the last event cancelled."""
        return sum(isinstance(effect, ev.CancelTimer) for effect in self.effects)


class ScriptedDynamic(Scripted):
    """As Scripted, for a dynamic supervisor."""

    machine: DynamicMachine  # type: ignore[assignment]

    def __init__(self, template: ChildSpec | None = None, **flags: object) -> None:
        super().__init__()
        self.machine = DynamicMachine(
            DynamicFlags(**flags),  # type: ignore[arg-type]
            template or spec("template"),
            chance=lambda: self.chance,
        )

    def start_child(self, child: ChildSpec | str, own: ChildSpec | None = None) -> list[str]:
        assert isinstance(child, str)
        return self.send(ev.StartDynamicChild(child, "op", own))  # type: ignore[arg-type]

    def with_children(self, *ids: str) -> ScriptedDynamic:
        """These run."""
        for child_id in ids:
            self.start_child(child_id)
            self.started(child_id)
        return self

    def release_child(self, child_id: str) -> list[str]:
        return self.send(ev.ReleaseChild(child_id, "op"))  # type: ignore[arg-type]

    @property
    def states(self) -> dict[str, object]:
        """which_children."""
        return {row.id: row.child for row in self.machine.which_children()}

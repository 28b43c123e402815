"""A plan's steps are what the supervisors do: random trees of real machines carry the orders out, and keep a diary."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bitnexus.actors.runtime.reasons import SHUTDOWN, killed
from bitnexus.errors import CommandRefused, UnknownPath
from bitnexus.operations.plan import Order, plan, unsettled
from bitnexus.operations.tree import Branch, Place, find
from bitnexus.supervision import events as ev
from bitnexus.supervision.machine import SupervisorMachine
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags

CLASS = "some.module:Class"
OWN = "root/operations"


@dataclass
class Process:
    path: str
    spec: ChildSpec
    pid: int
    machine: SupervisorMachine | None = None


@dataclass
class World:
    """Processes that start and stop at once, in the order in which they are told; what happens is in `diary`."""

    root: ChildSpec
    diary: list[tuple[str, str]] = field(default_factory=list)
    processes: dict[str, Process] = field(default_factory=dict)
    todo: deque = field(default_factory=deque)
    answers: dict[object, object] = field(default_factory=dict)
    pids: count = field(default_factory=lambda: count(1))
    refs: count = field(default_factory=count)

    def up(self) -> World:
        self._start("root", self.root)
        self._run()
        self.diary.clear()
        return self

    # -- what a driver does --------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self.todo:
            path, event = self.todo.popleft()
            process = self.processes.get(path)
            if process is None or process.machine is None:
                continue  # it died meanwhile
            for effect in process.machine.handle(event, 0.0):
                self._carry_out(process, effect)

    def _carry_out(self, process: Process, effect: ev.Effect) -> None:
        match effect:
            case ev.Start(child_id, spec):
                self._start(f"{process.path}/{child_id}", spec)
            case ev.Stop(child_id):
                self._stop(f"{process.path}/{child_id}")
            case ev.Running():
                self._tell_parent(process.path, ev.ChildStarted(process.spec.id, process.pid))
            case ev.Exit():
                self._ended(process)
            case ev.Answer(ref, result):
                self.answers[ref] = result
            case ev.SetTimer() | ev.CancelTimer() | ev.Report():
                pass

    def _start(self, path: str, spec: ChildSpec) -> None:
        self.diary.append(("start", path))
        process = self.processes[path] = Process(path, spec, next(self.pids))
        if spec.type == "supervisor":
            assert isinstance(spec.start, ProcessStart)
            args: Any = spec.start.args
            process.machine = SupervisorMachine(args["flags"], args["children"])
            self.todo.append((path, ev.Begin()))
        else:
            self._tell_parent(path, ev.ChildStarted(spec.id, process.pid))

    def _stop(self, path: str) -> None:
        process = self.processes[path]
        if process.machine is not None:
            self.todo.append((path, ev.Shutdown(SHUTDOWN)))
        else:
            self._ended(process)

    def _ended(self, process: Process) -> None:
        self.diary.append(("stop", process.path))
        del self.processes[process.path]
        self._tell_parent(process.path, ev.ChildExited(process.spec.id, process.pid, SHUTDOWN))

    def _tell_parent(self, path: str, event: ev.Event) -> None:
        parent = path.rpartition("/")[0]
        if parent:
            self.todo.append((parent, event))

    # -- what an operator does -----------------------------------------------------------------------------------

    def obey(self, order: Order) -> None:
        """As bitnexus.supervision.operated."""
        assert order.kind == "supervisor"
        path = next(path for path in self.processes if path.rpartition("/")[2] == order.to)
        if order.verb == "kill":
            self._kill(f"{path}/{order.subject}")
        if order.verb in ("stop", "restart"):
            assert self._ask(path, ev.TerminateChild(order.subject, next(self.refs))) == ev.Ok()
        if order.verb in ("start", "restart"):
            assert isinstance(self._ask(path, ev.RestartChild(order.subject, next(self.refs))), ev.Ok)

    def _ask(self, path: str, call: ev.Operation) -> object:
        self.todo.append((path, call))
        self._run()
        return self.answers[call.ref]

    def _kill(self, path: str) -> None:
        order = [branch.path for branch in self.look().all()]
        dead = self.processes.pop(path)
        self.diary.append(("kill", path))
        for below in [each for each in order if each.startswith(f"{path}/")]:
            if below in self.processes:
                del self.processes[below]
                self.diary.append(("end", below))
        self._tell_parent(path, ev.ChildExited(dead.spec.id, dead.pid, killed(9)))
        self._run()

    # -- what a survey sees --------------------------------------------------------------------------------------

    def branch(self, path: str, spec: ChildSpec, status: str = "running") -> Branch:
        process = self.processes.get(path)
        found = replace(declared(path.rpartition("/")[0], spec), status=status)
        if process is None or process.machine is None:
            return replace(found, pid=process.pid if process else None)
        children = (
            self.branch(f"{path}/{child.id}", child.spec, child.status.name.lower())
            for child in process.machine.children()
        )
        flags = process.machine.flags
        return replace(
            found,
            pid=process.pid,
            children=tuple(children),
            strategy=flags.strategy,
            replicas=flags.replicas,
            restarts_used=process.machine.restarts_used(0.0),
            restarts_allowed=flags.intensity,
        )

    def look(self) -> Branch:
        return self.branch("root", self.root)


def declared(parent_path: str, spec: ChildSpec) -> Branch:
    path = f"{parent_path}/{spec.id}" if parent_path else spec.id
    assert isinstance(spec.start, ProcessStart)
    below: Any = spec.start.args.get("children", ())
    return Branch(
        path=path,
        kind=spec.type,
        status="stopped",
        restart=spec.restart,
        declared=tuple(declared(path, each) for each in below),
    )


STRATEGIES: Any = st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"])
RESTARTS: Any = st.sampled_from(["permanent", "permanent", "transient", "temporary"])


@st.composite
def specs(draw: st.DrawFn, depth: int = 2, name: str = "root") -> ChildSpec:
    """A supervisor of up to four children, some of them supervisors; names are unique in the tree."""
    children = []
    for number in range(draw(st.integers(1, 4))):
        child_name = f"{name}{number}"
        if depth and draw(st.booleans()):
            children.append(draw(specs(depth - 1, child_name)))
        else:
            children.append(ChildSpec(child_name, ProcessStart(CLASS), restart=draw(RESTARTS)))
    strategy = draw(STRATEGIES)
    replicas = strategy == "one_for_one" and draw(st.booleans())
    flags = SupervisorFlags(strategy=strategy, intensity=1000, replicas=replicas)
    restart: Any = "permanent" if name == "root" else draw(RESTARTS)
    return ChildSpec(name, ProcessStart(CLASS, {"flags": flags, "children": children}), restart, type="supervisor")


VERBS = st.sampled_from(["restart", "stop", "start", "kill"])


@settings(max_examples=300, deadline=None)
@given(spec=specs(), data=st.data())
def test_the_steps_of_a_plan_are_what_the_supervisors_do_in_that_order(spec: ChildSpec, data: st.DataObject) -> None:
    world = World(spec).up()
    for _ in range(data.draw(st.integers(1, 6), label="commands")):
        before = world.look()
        places = [branch.path for branch in before.all() if "/" in branch.path]
        if not places:
            return  # the last temporary one has ended
        path, verb = data.draw(st.sampled_from(places), label="path"), data.draw(VERBS, label="verb")
        place = find(before, path)
        assert place.parent is not None
        try:
            planned = plan(place, verb, own_path=OWN)
        except CommandRefused:
            continue
        assert place.parent.is_alive
        world.diary.clear()
        for order in planned.orders:
            world.obey(order)
        assert world.diary == [(step.action, step.path) for step in planned.steps]
        assert unsettled(planned.steps, world.look()) == []
        if world.diary:
            assert unsettled(planned.steps, before) != []


@settings(max_examples=200, deadline=None)
@given(spec=specs(), data=st.data(), verb=st.sampled_from(["suspend", "drain", "resume"]))
def test_each_running_worker_is_told_once_and_the_one_that_carries_it_out_never(spec, data, verb) -> None:
    root = World(spec).up().look()
    place = find(root, data.draw(st.sampled_from([branch.path for branch in root.all()])))
    workers = [branch.path for branch in place.branch.all() if branch.kind == "worker"]
    own = data.draw(st.sampled_from([OWN, *workers]))
    try:
        planned = plan(place, verb, own_path=own)
    except CommandRefused:
        assert own == place.path
        assert verb != "resume"
        return
    told = [step.path for step in planned.steps]
    expected = [path for path in workers if path != own]
    assert told == (expected if verb == "resume" else expected[::-1])
    assert [order.to for order in planned.orders] == [path.rpartition("/")[2] for path in told]
    if own in workers and own != place.path:
        assert any(own in warning for warning in planned.warnings)


@given(spec=specs(), data=st.data(), tail=st.text("abc/-0", max_size=8))
def test_every_path_is_found_or_said_to_be_unknown(spec, data, tail) -> None:
    root = World(spec).up().look()
    path = data.draw(st.sampled_from([branch.path for branch in root.all()]))
    assert find(root, path).path == path
    try:
        found = find(root, path + tail)
    except UnknownPath:
        return
    assert isinstance(found, Place)
    assert found.path == (path + tail).strip("/")

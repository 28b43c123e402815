"""Random messages, requests, timers, kills, suspensions and time: nothing is lost, early or out of order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bitnexus.actors.runtime.light import Ask, Crash, LightActor, LightActors, Limits, Timer
from bitnexus.actors.runtime.light_timers import Alarm
from bitnexus.errors import BitNexusError, Overloaded

KEYS = strategies.sampled_from("abcd")
LIMITS = Limits(
    max_actors=3,
    mailbox=4,
    actor_messages=2,
    turn_messages=5,
    idle_s=3,
    tick_s=1,
    max_activating=3,
    load_batch=2,
    loads=2,
    look_at=4,
    timers=8,
    actor_timers=3,
    turn_timers=3,
    actor_pending=3,
    suspended=3,
)

Message = tuple[int, str, str]  # its number, what to do, whom to ask


class Worker(LightActor[Message | Ask, object, object]):
    """Notes numbers; answers requests at once, later or never, asks others, dies."""

    __slots__ = ("machine",)

    def __init__(self, key: str, machine: LightActorMachine) -> None:
        super().__init__(key)
        self.machine = machine

    def receive(self, message: Message | Ask, context: object) -> object | None:
        machine = self.machine
        machine.in_turn[self.key] += 1
        assert not machine.actors.is_suspended(self.key), "a suspended actor has received"
        if isinstance(message, Ask):
            assert message.sender is self, "another actor's answer"
            machine.came_back(message)
            return ("through", message.message[0]) if isinstance(context, Ask) else None
        number, what, other = message
        machine.received(self.key, number)
        if what == "die":
            raise ValueError("told to die")
        if what == "ask":
            machine.number += 1
            ask = Ask(other, (machine.number, "answer", ""), timeout_s=2.0)
            machine.asked[machine.number] = ask
            return ask
        if what == "suspend me":
            machine.suspend(self.key)
        if what == "kill me":
            machine.actors.kill(self.key)
        if what == "later" and isinstance(context, Ask):
            machine.owed.append(context)
            return None
        return ("answer", number) if isinstance(context, Ask) else None


class LightActorMachine(RuleBasedStateMachine):
    """Every number told ends once: received, undelivered, or cancelled with its timer."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.now_s = 0.0
        self.restart = True
        self.told: dict[str, list[int]] = defaultdict(list)  # by tell, in order
        self.ends: dict[int, str] = {}
        self.order: dict[str, list[int]] = defaultdict(list)  # as received
        self.asked: dict[int, Ask] = {}
        self.back: dict[int, int] = defaultdict(int)
        self.outside: dict[int, list[object]] = {}
        self.owed: list[Ask] = []
        self.timers: dict[int, Timer] = {}
        self.fired: dict[str, list[tuple[float, int]]] = defaultdict(list)  # as received
        self.in_turn: dict[str, int] = defaultdict(int)
        self.soon: list[Callable[[], None]] = []
        self.loads: list[list[str]] = []
        self.wake_s: float | None = None
        self.actors: LightActors[Message | Ask, object, object, str] = LightActors(
            self,
            LIMITS,
            now_s=0.0,
            schedule=self.soon.append,
            start_load=lambda keys: self.loads.append(list(keys)),
            alarm=Alarm(lambda: self.now_s, self._wake_at),
        )

    # -- owner ------------------------------------------------------------------------------------------------

    def _wake_at(self, due_s: float) -> None:
        self.wake_s = due_s

    def make(self, key: str, state: str | None) -> Worker:
        return Worker(key, self)

    def emit(self, actor: LightActor[Message | Ask, object, object], output: object, context: object) -> None:
        assert isinstance(output, tuple)
        assert output[0] == "through"

    def undelivered(self, key: str, message: Message | Ask, context: object, error: BitNexusError) -> None:
        if isinstance(message, Ask):
            self.came_back(message)
        else:
            self.end(message[0], "undelivered")

    def crashed(self, crash: Crash, context: object) -> bool:
        return self.restart

    # -- model ------------------------------------------------------------------------------------------------

    def end(self, number: int, how: str) -> None:
        # The message that an actor dies of is received, and undelivered for those who wait for it.
        if self.ends.get(number) == "received" and how == "undelivered":
            how = "died of"
        else:
            assert number not in self.ends, f"{self.ends[number]} and {how}"
        self.ends[number] = how

    def received(self, key: str, number: int) -> None:
        if number in self.timers:
            timer = self.timers[number]
            assert timer.due_s <= self.now_s, "early"
            self.fired[key].append((timer.due_s, number))
        self.order[key].append(number)
        self.end(number, "received")

    def came_back(self, ask: Ask) -> None:
        assert ask.result is not None
        self.back[ask.message[0]] += 1

    def suspend(self, key: str) -> None:
        try:
            self.actors.suspend(key)
        except Overloaded:
            assert sum(map(self.actors.is_suspended, "abcd")) == LIMITS.suspended

    # -- what may happen --------------------------------------------------------------------------------------

    @rule(
        key=KEYS,
        what=strategies.sampled_from(["note", "note", "ask", "ask", "die", "suspend me", "kill me"]),
        to=KEYS,
        at_once=strategies.booleans(),
    )
    def tell(self, key: str, what: str, to: str, at_once: bool) -> None:
        self.number += 1
        number = self.number
        give = self.actors.deliver if at_once else self.actors.tell
        try:
            give(key, (number, what, to), None)
        except Overloaded:
            return
        self.told[key].append(number)

    @rule(key=KEYS, what=strategies.sampled_from(["note", "later", "later", "ask", "die"]), to=KEYS)
    def ask_from_outside(self, key: str, what: str, to: str) -> None:
        self.number += 1
        number = self.number
        answers: list[object] = []
        try:
            self.actors.ask(key, (number, what, to), answers.append, timeout_s=4.0)
        except Overloaded:
            assert not answers
            return
        self.outside[number] = answers

    @rule()
    def answer_late(self) -> None:
        if self.owed:
            self.actors.answer(self.owed.pop(0), "late")

    @rule(key=KEYS, delay_s=strategies.floats(0, 5))
    def start_timer(self, key: str, delay_s: float) -> None:
        self.number += 1
        try:
            self.timers[self.number] = self.actors.start_timer(key, (self.number, "note", ""), None, delay_s=delay_s)
        except Overloaded:
            return

    @rule(which=strategies.integers(0, 100))
    def cancel_timer(self, which: int) -> None:
        if self.timers:
            number = sorted(self.timers)[which % len(self.timers)]
            if self.actors.cancel_timer(self.timers[number]):
                self.end(number, "cancelled")

    @rule()
    def loop_turns(self) -> None:
        soon, self.soon[:] = list(self.soon), []
        for callback in soon:
            self.in_turn.clear()
            callback()
            assert sum(self.in_turn.values()) <= LIMITS.turn_messages

    @rule()
    def load_ends(self) -> None:
        if self.loads:
            self.actors.loaded(self.loads.pop(0), {})

    @rule(seconds=strategies.floats(0.01, 3))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        for _ in range(20):
            if self.wake_s is None or self.wake_s > self.now_s:
                break
            self.wake_s = None
            self.actors.fire(self.now_s)
        self.actors.sweep(self.now_s)

    @rule(key=KEYS)
    def kill(self, key: str) -> None:
        self.actors.kill(key)

    @rule(key=KEYS)
    def suspend_it(self, key: str) -> None:
        self.suspend(key)

    @rule(key=KEYS)
    def resume(self, key: str) -> None:
        self.actors.resume(key)

    @rule(key=KEYS)
    def retire(self, key: str) -> None:
        self.actors.retire(key)

    @rule(restart=strategies.booleans())
    def supervisor_decides(self, restart: bool) -> None:
        self.restart = restart

    # -- what must hold ---------------------------------------------------------------------------------------

    @invariant()
    def messages_of_one_actor_are_received_in_the_order_in_which_they_were_told(self) -> None:
        for key, told in self.told.items():
            mine = set(told)
            received = [number for number in self.order[key] if number in mine]
            assert received == sorted(received)

    @invariant()
    def timers_of_one_actor_fire_in_the_order_of_their_times(self) -> None:
        assert all(fired == sorted(fired) for fired in self.fired.values())

    @invariant()
    def bounds_hold(self) -> None:
        assert self.actors.timers <= LIMITS.timers
        for actor in self.actors.page():
            most = LIMITS.mailbox + 2 * LIMITS.actor_timers + LIMITS.actor_pending
            assert len(actor.mailbox or ()) <= most
            assert self.actors.timers_of(actor.key) <= LIMITS.actor_timers

    def teardown(self) -> None:
        for key in "abcd":
            self.actors.resume(key)
        for _ in range(200):
            self.loop_turns()
            self.load_ends()
            self.answer_late()
            for key in "abcd":
                self.actors.resume(key)
            self.time_passes(1.0)
        told = [number for numbers in self.told.values() for number in numbers]
        assert [number for number in told if number not in self.ends] == [], "lost"
        assert [number for number in self.timers if number not in self.ends] == [], "timers lost"
        assert all(len(answers) == 1 for answers in self.outside.values()), "requests from outside"
        for number, ask in self.asked.items():
            assert ask.result is not None, "a request between actors"
            # One that was put for the sake of another, by an actor that ended, shows in the end of that other one.
            relayed = isinstance(ask.context, Ask) and ask.context.result is not None
            assert self.back[number] == 1 or (self.back[number] == 0 and relayed)
        assert not any(actor.pending for actor in self.actors.page())
        super().teardown()


TestLightActors = LightActorMachine.TestCase
TestLightActors.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)

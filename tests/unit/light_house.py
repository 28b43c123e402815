"""An owner of light actors that keeps what it is told, with a scheduler and a clock run by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bitnexus.actors.runtime.light import Ask, Crash, LightActor, LightActors, Limits
from bitnexus.actors.runtime.light_timers import Alarm
from bitnexus.errors import BitNexusError

Received = list[tuple[str, object]]


class Recorder(LightActor[object, object, object]):
    """Notes what it receives; does as it is told.

    "die" raises, "begin" and "end" bound work in flight, "echo …" is answered, ("ask", key, message) is asked,
    ("do", f) calls f; a request that comes back is noted as its result.
    """

    __slots__ = ("at_work", "log", "state")

    def __init__(self, key: str, state: object, log: Received) -> None:
        super().__init__(key)
        self.log = log
        self.state = state
        self.at_work = False

    @property
    def busy(self) -> bool:
        return self.at_work

    def summary(self) -> Mapping[str, object]:
        if self.at_work:
            raise RuntimeError("not while at work")
        return {"received": len(self.log)}

    def receive(self, message: object, context: object) -> object | None:
        if message == "die":
            raise ValueError("told to die")
        if message in {"begin", "end"}:
            self.at_work = message == "begin"
        if isinstance(message, Ask):
            result = message.result
            self.log.append((self.key, result.code if isinstance(result, BitNexusError) else result))
            return f"{self.key} heard {result}" if context is not None else None
        self.log.append((self.key, message))
        if isinstance(message, tuple) and message[0] == "ask":
            return Ask(*message[1:])
        if isinstance(message, tuple) and message[0] == "do":
            message[1]()
        return f"echo {message}" if isinstance(message, str) and message.startswith("echo") else None


class House:
    """Time stands still until `at` is called."""

    def __init__(self, limits: Limits | None = None, *, durable: bool = False, restart: bool = True) -> None:
        self.received: Received = []
        self.sent: list[object] = []
        self.failed: list[tuple[str, object, str]] = []
        self.crashes: list[Crash] = []
        self.restart = restart
        self.soon: list[Callable[[], None]] = []
        self.loads: list[list[str]] = []
        self.now_s = 0.0
        self.wakes: list[float] = []
        self.actors: LightActors[object, object, object, str] = LightActors(
            self,
            limits or Limits(),
            now_s=0.0,
            schedule=self.soon.append,
            start_load=self._load if durable else None,
            alarm=Alarm(lambda: self.now_s, self.wakes.append),
        )

    def _load(self, keys: Sequence[str]) -> None:
        self.loads.append(list(keys))

    def make(self, key: str, state: str | None) -> Recorder:
        if key == "stillborn":
            raise RuntimeError("cannot be made")
        return Recorder(key, state, self.received)

    def emit(self, actor: LightActor[object, object, object], output: object, context: object) -> None:
        self.sent.append((actor.key, output, context))

    def undelivered(self, key: str, message: object, context: object, error: BitNexusError) -> None:
        self.failed.append((key, message, error.code))

    def crashed(self, crash: Crash, context: object) -> bool:
        self.crashes.append(crash)
        return self.restart

    def tell(self, key: str, *messages: object) -> None:
        for message in messages:
            self.actors.tell(key, message, None)

    def turn(self) -> None:
        """One turn of the loop: what was scheduled before it."""
        soon, self.soon[:] = list(self.soon), []
        for callback in soon:
            callback()

    def settle(self) -> None:
        while self.soon:
            self.turn()

    def at(self, now_s: float) -> None:
        """Let it be `now_s`: wake up if that was asked for, sweep, settle."""
        self.now_s = now_s
        while self.wakes and self.wakes[-1] <= now_s:
            self.wakes.clear()
            self.actors.fire(now_s)
        self.actors.sweep(now_s)
        self.settle()

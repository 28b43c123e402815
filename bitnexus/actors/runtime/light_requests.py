"""A request from one light actor to another of the same table, and its one answer.

An actor asks by returning an :class:`Ask` from `receive`. The actor `key` receives its `message` with the Ask as the
context; what that one returns is the answer. Then the Ask itself comes back to the asker as a message, with `result`
set, under the context in which it was asked. So a request costs one object: no future, no callback, no id.

    def receive(self, message, context):
        if isinstance(message, Ask):
            return Quote(message.result)          # to whoever sent PleaseQuote
        return Ask("prices", GetPrice(message.what))

An actor that answers later returns None, keeps its context, and the owner calls `LightActors.answer(ask, result)`.
Should it end before, the asker gets the error. Every Ask comes back exactly once: with the answer, or with the error
of a callee that ended (RuntimeFault), of a bound (Overloaded) or of its time limit (CallTimeout). A late answer is
dropped. When the asker ended meanwhile, whoever waited for it hears so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, final

from bitnexus.actors.runtime.light_actor import ENDED, LightActor, died
from bitnexus.actors.runtime.light_timers import Alarm, Timer, Timers
from bitnexus.errors import BitNexusError, CallTimeout, Overloaded

OnReply = Callable[[Any], None]


@final
class Ask:
    """See the module. `result` is None until it is answered, then a message or a BitNexusError. Used once."""

    __slots__ = ("callee", "context", "key", "message", "on_reply", "result", "sender", "timeout_s", "timer")

    def __init__(self, key: str, message: Any, timeout_s: float | None = None) -> None:
        self.key = key
        self.message = message
        self.timeout_s = timeout_s
        self.result: Any = None
        self.context: Any = None  # in which it was asked
        self.sender: LightActor[Any, Any, Any] | None = None  # None: it was asked from outside
        self.callee: LightActor[Any, Any, Any] | None = None  # who has taken it and will answer later
        self.on_reply: OnReply | None = None  # called with the result of one that was asked from outside
        self.timer: Timer | None = None


class Table(Protocol):
    """What requests need of their table."""

    def tell(self, key: str, message: Any, context: Any) -> None:
        """As LightActors.tell."""

    def enqueue(self, actor: LightActor[Any, Any, Any], message: Any, context: Any) -> None:
        """Queue a message for this very actor, whatever waits already."""

    def settled(self, actor: LightActor[Any, Any, Any]) -> None:
        """An answer that this actor owed has gone out."""

    def undelivered(self, key: str, message: Any, context: Any, error: BitNexusError) -> None:
        """As Owner.undelivered, for messages of requests too."""


class Requests:
    """Those of one table that have not come back."""

    def __init__(self, table: Table, alarm: Alarm, most_pending: int) -> None:
        self.timeouts = Timers()
        self._table = table
        self._alarm = alarm
        self._most_pending = most_pending
        self._owed: dict[LightActor[Any, Any, Any], dict[Ask, None]] = {}

    def begin(self, actor: LightActor[Any, Any, Any], ask: Ask, context: Any) -> None:
        """`actor` asks. What keeps the request from being told comes back as its result."""
        assert ask.sender is None, "an Ask is used once"
        ask.sender = actor
        ask.context = context
        actor.pending += 1
        if actor.pending > self._most_pending:
            self.answer(ask, Overloaded("The service is overloaded: too many requests of this actor are unanswered"))
            return
        try:
            self._table.tell(ask.key, ask.message, ask)
        except Overloaded as error:
            self.answer(ask, error)
            return
        if ask.timeout_s is not None:
            self._limit(ask, ask.timeout_s)

    def begin_outside(self, ask: Ask, on_reply: OnReply) -> None:
        """Ask in nobody's name. Raises Overloaded before any effect."""
        ask.on_reply = on_reply
        self._table.tell(ask.key, ask.message, ask)
        if ask.timeout_s is not None:
            self._limit(ask, ask.timeout_s)

    def _limit(self, ask: Ask, timeout_s: float) -> None:
        if ask.result is None:  # it may have come to nothing at once
            ask.timer = Timer("", ask, None, self._alarm.now_s() + timeout_s)
            self.timeouts.start(ask.timer)
            self._alarm.set(ask.timer.due_s)

    def answer(self, ask: Ask, result: Any) -> None:
        """Send the result back; nothing happens when the Ask has one."""
        if ask.result is not None:
            return
        ask.result = result
        if ask.timer is not None:
            self.timeouts.cancel(ask.timer)
        if ask.callee is not None:
            self._pay(ask, ask.callee)
        sender = ask.sender
        if sender is None:
            if ask.on_reply is not None:
                ask.on_reply(result)
            return
        sender.pending -= 1
        if sender.status == ENDED:
            self._table.undelivered(sender.key, ask, ask.context, died())
        else:
            self._table.enqueue(sender, ask, ask.context)

    def owe(self, actor: LightActor[Any, Any, Any], ask: Ask) -> None:
        """`actor` has taken the request and not answered yet."""
        if ask.callee is actor:
            return
        ask.callee = actor
        actor.pending += 1
        self._owed.setdefault(actor, {})[ask] = None

    def _pay(self, ask: Ask, callee: LightActor[Any, Any, Any]) -> None:
        ask.callee = None
        callee.pending -= 1
        owed = self._owed.get(callee)
        if owed is not None:
            del owed[ask]
            if not owed:
                del self._owed[callee]
        self._table.settled(callee)

    def ended(self, actor: LightActor[Any, Any, Any]) -> None:
        """Fail what this actor owed."""
        for ask in list(self._owed.get(actor, ())):
            self.answer(ask, died())

    def expire(self, now_s: float, at_most: int) -> None:
        """Fail those whose time is over."""
        for timer in self.timeouts.due(now_s, at_most):
            self.answer(timer.message, CallTimeout())

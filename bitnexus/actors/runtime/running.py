"""How a Thespian transport runs: what has come is handed to Thespian's handler, and the loop turns meanwhile.

Envelopes are handled inside the loop: to stop it and run it again for each would cost more than the rest of their way
(uvloop makes a pair of sockets every time). While the handler works, the loop does not count as the running one: an
actor may run a loop of its own, and one that forks does not hand a running loop to its child. What must find the loop
at rest stops it: deaths of children, requests to exit, `outside_loop`.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from asyncio import _set_running_loop  # meant for those who write loops
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from thespian.actors import ActorAddress, ActorExitRequest
from thespian.system.messages.multiproc import ChildMayHaveDied
from thespian.system.timing import ExpirationTimer
from thespian.system.transport import (
    ReceiveEnvelope,
    Thespian__Run_Expired,
    Thespian__Run_HandlerResult,
    Thespian__Run_Terminated,
    TransmitOnly,
)
from thespian.system.transport.wakeupTransportBase import wakeupTransportBase

from bitnexus.actors.runtime.stack import with_room

#: While envelopes are handled one after another, connections get a turn at least this often.
_TURN_EVERY_S: Final = 0.005
#: To sleep and be woken on another core takes some 20 µs, on both sides: a third of a question and its answer. So a
#: process to which the last envelope came sooner than this stays awake so long for the next one, as schedulers of the
#: BEAM do. One wait that is longer, and it sleeps at once from then on. With one core the other side could not run;
#: where the other core is busy, staying awake is slower: each 16th time the other way is tried, to keep to the faster.
_AWAKE_S: Final = 0.0001 if len(os.sched_getaffinity(0)) > 1 else 0.0
_TRIED_EVERY: Final = 16
#: The weight of the last wait of its kind in their average is one in so many.
_AVERAGED: Final = 4


class Running(wakeupTransportBase):  # type: ignore[misc]  # Thespian has no type hints
    """The part of a transport that Thespian calls `run`. The rest gives what is only declared here."""

    loop: asyncio.AbstractEventLoop
    myAddress: ActorAddress

    def __init__(self) -> None:
        super().__init__()
        self.run_time = ExpirationTimer(None)
        #: Set by a Process: called for a request to exit (SIGTERM, or Thespian's message), inside or outside the loop.
        self.on_exit_request: Callable[[], None] | None = None
        #: Set by a Supervisor: called outside the loop when children may have died.
        self.on_child_death: Callable[[], None] | None = None
        self._inbox: deque[ReceiveEnvelope] = deque()
        self._outside: deque[Callable[[], None]] = deque()
        self._handler: Callable[[ReceiveEnvelope], Any] | None = None  # set while the loop may hand envelopes to it
        self._result: Any = True  # of the handler, when it wants the run to end
        self._failure: BaseException | None = None  # what escaped the handler inside the loop
        self._is_handling = False  # it is at it, or will be in the next turn
        self._is_transmitting_only = False
        self._abort: bool | None = None  # None: run on; False: stop now; True: stop when everything is sent
        self._check_children = False
        self._exit_signalled = False
        self._runner: int | None = None
        self._waits_since = 0.0  # for an envelope; 0: it does not
        self._came_soon = False  # the last one
        self._soon = 0  # how many did
        self._waits_s = [_AWAKE_S, 0.0]  # how long they were waited for asleep and awake
        self._is_awake = False  # it waits awake, or did
        self._will_look = False  # the loop's next turn is not to sleep
        self._alarm: asyncio.TimerHandle | None = None  # when `run` looks at its time again, at the latest
        self._is_brief = False  # it runs for single answers: to make room for each would cost more than room is worth

    def _transmit_posted(self) -> None:
        """Send what other threads have posted."""
        raise NotImplementedError

    def _pending_sends(self) -> int:
        """How many messages of Thespian's have not arrived."""
        raise NotImplementedError

    # -- what ends a turn ------------------------------------------------------------------------------------

    def interrupt_wait(self, signal_shutdown: bool = False, check_children: bool = False) -> None:
        """Called by signal handlers."""
        self._exit_signalled |= signal_shutdown
        self._check_children |= check_children
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._wake)

    def outside_loop(self, action: Callable[[], None]) -> None:
        """Run `action` soon, while the loop is not running (a fork must not copy a running loop)."""
        self._outside.append(action)
        self._wake()

    def abort_run(self, drain: bool = False) -> None:
        """Make `run` return; with `drain` when everything has been sent."""
        self._abort = drain
        self._wake()

    def addWakeup(self, period: timedelta, payload: object) -> None:
        """Thespian's wakeupAfter."""
        super().addWakeup(period, payload)
        self._wake()

    def _wake(self) -> None:
        """Have `run` look what there is to do."""
        # Without a runner somebody else runs the loop (the launcher): it has no use for envelopes.
        if self._runner is not None and self.loop.is_running():
            self.loop.stop()

    def _has_sent(self) -> None:
        """A message has arrived, or failed: does `run` wait for that?"""
        if self._abort or self._is_transmitting_only:
            self._wake()

    def _take(self, envelope: ReceiveEnvelope) -> None:
        """Let this envelope be handled, in its turn."""
        self._inbox.append(envelope)
        if self._waits_since:
            waited_s = time.perf_counter() - self._waits_since
            self._waits_since = 0.0
            self._came_soon = waited_s < _AWAKE_S
            if self._came_soon:
                self._waits_s[self._is_awake] += (waited_s - self._waits_s[self._is_awake]) / _AVERAGED
        if self._handler is None:
            self._wake()
        elif not self._is_handling and self.loop.is_running():
            self._is_handling = True
            self.loop.call_soon(self._handle_inside)

    def _wait(self) -> None:
        """From now on there is nothing to do but to wait for an envelope."""
        self._waits_since = time.perf_counter()
        self._is_awake = False
        if self._came_soon:
            self._soon += 1
            is_better_awake = self._waits_s[True] < self._waits_s[False]
            self._is_awake = is_better_awake != (self._soon % _TRIED_EVERY == 0)
            if self._is_awake and not self._will_look:
                self._stay_awake()

    def _stay_awake(self) -> None:
        is_waiting = self._is_awake and bool(self._waits_since)
        self._will_look = is_waiting and time.perf_counter() - self._waits_since < _AWAKE_S
        if self._will_look:
            os.sched_yield()  # to whoever could answer and waits for this core
            self.loop.call_soon(self._stay_awake)  # a loop that has something to do does not sleep

    # -- inside the loop -------------------------------------------------------------------------------------

    def _handle_inside(self) -> None:
        self._is_handling = False
        handler = self._handler
        if handler is None:
            return  # the run ended before this turn came: the next one finds the inbox
        _set_running_loop(None)  # see the module
        try:
            self._handle(handler)
        except BaseException as error:  # noqa: BLE001  # it is `run`'s to raise
            self._failure = error
            self._handler = None
            self.loop.stop()
        finally:
            _set_running_loop(self.loop)

    def _handle(self, handler: Callable[[ReceiveEnvelope], Any]) -> None:
        until = time.monotonic() + _TURN_EVERY_S
        while self._inbox and not self._needs_rest():
            envelope = self._inbox.popleft()
            if self._is_for_process(envelope):
                continue
            result = Thespian__Run_HandlerResult(handler(envelope))
            if not result:
                self._result = result
                self._handler = None
                self.loop.stop()
                return
            if self._inbox and time.monotonic() > until:
                self._is_handling = True
                self.loop.call_soon(self._handle_inside)
                return
        if self._needs_rest():
            self.loop.stop()
        else:
            self._wait()

    def _needs_rest(self) -> bool:
        """Whether there is something to do that must find the loop at rest."""
        return bool(self._abort is not None or self._check_children or self._exit_signalled or self._outside)

    def _is_for_process(self, envelope: ReceiveEnvelope) -> bool:
        if self.on_exit_request is None or not isinstance(envelope.message, ActorExitRequest):
            return False
        self.on_exit_request()
        return True

    # -- outside it ------------------------------------------------------------------------------------------

    def _runWithExpiry(self, handler: Any) -> Any:
        self._abort = None
        self._runner = threading.get_ident()
        try:
            self._transmit_posted()
            if handler is TransmitOnly or isinstance(handler, TransmitOnly):
                self._is_transmitting_only = True
                return self._run_transmit_only()
            return self._run(handler)
        finally:
            self._runner = self._handler = None
            self._is_transmitting_only = False

    def _run(self, handler: Any) -> Any:
        turned_at = time.monotonic()
        while True:
            while self._abort is None and (envelope := self._next_envelope()) is not None:
                if handler is None:
                    return envelope
                result = Thespian__Run_HandlerResult(handler(envelope))
                if not result:
                    return result
                if time.monotonic() - turned_at > _TURN_EVERY_S:
                    self._turn()
                    turned_at = time.monotonic()
            if self._abort is False or (self._abort and not self._pending_sends()):
                return Thespian__Run_Terminated()
            if self.run_time.view().expired():
                return Thespian__Run_Expired()
            self._handler = handler
            self._wait()
            self._run_loop()
            self._handler = None
            if not self._result or self._failure is not None:
                return self._end_of_run()
            turned_at = time.monotonic()

    def _end_of_run(self) -> Any:
        result, self._result = self._result, True
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return result

    def _next_envelope(self) -> ReceiveEnvelope | None:
        if self._check_children:
            self._check_children = False
            if self.on_child_death is not None:
                self.on_child_death()
            return ReceiveEnvelope(self.myAddress, ChildMayHaveDied())
        if self._exit_signalled:
            self._exit_signalled = False
            self._inbox.appendleft(ReceiveEnvelope(self.myAddress, ActorExitRequest()))
        for _ in range(len(self._outside)):
            self._outside.popleft()()
        while self._inbox:
            envelope = self._inbox.popleft()
            if not self._is_for_process(envelope):
                return envelope
        return None

    def _run_transmit_only(self) -> Any:
        before = self._pending_sends()
        while (now := self._pending_sends()) and now >= before:
            if self._abort is not None:
                return Thespian__Run_Terminated()
            if self.run_time.view().expired():
                return Thespian__Run_Expired()
            self._run_loop()
        return self._pending_sends()

    def _run_loop(self) -> None:
        """Run the loop until something asks for attention or the time is up."""
        if self._check_children or self._exit_signalled or self._inbox or self._outside:
            self._turn()
            return
        remaining = self.run_time.view().remainingSeconds()
        if remaining is not None:
            self._set_alarm(self.loop.time() + remaining)
        if self._is_brief:
            self.loop.run_forever()
        else:
            with_room(self.loop.run_forever)

    def _set_alarm(self, when: float) -> None:
        # One that rings too early, set by an earlier run, wakes for nothing, once: cheaper than a timer for each run.
        if self._alarm is not None:
            if self._alarm.when() <= when:
                return
            self._alarm.cancel()
        self._alarm = self.loop.call_at(when, self._rang)

    def _rang(self) -> None:
        self._alarm = None
        self._wake()

    def _turn(self) -> None:
        """One turn of the loop, so that connections make progress."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

"""One client that polls: its session, which lives in one front between its requests.

What is for the client waits in a bounded queue until a poll takes it. The session ends when nobody polls for a while,
when more waits than the bound, when the client sends what is no frame or too much, and by `close`: nothing is dropped
silently, for whoever asks for a session that has ended is told so and joins anew.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from bitnexus.http.channels.broadcast import Broadcast, Form
from bitnexus.http.channels.client import Channels, Client
from bitnexus.http.channels.frame import BadFrame
from bitnexus.http.channels.messages import Delivered, Polled
from bitnexus.http.channels.outbox import Full, Outbox
from bitnexus.http.channels.rate import Flooding
from bitnexus.http.channels.serializer import Serializer
from bitnexus.principal import Principal

#: Polls of one session that wait at a time. One is right; others are what a client has given up.
MAX_POLLS: Final = 4
#: Of the times a poll waits: how long a session may go without one. Phoenix's.
PATIENCE: Final = 1.5

GONE: Final = Polled(410)
NOTHING: Final = Polled(204)
#: More polls wait than there may: clients of Phoenix take it for a fault of the server and come back later.
REFUSED: Final = Polled(500)

log = structlog.get_logger(__name__)


class PollSession:
    """`window_s` is how long a poll waits; `on_end` is called once, when the session has ended."""

    def __init__(  # noqa: PLR0917 - what a session is made of
        self,
        id_: str,
        principal: Principal,
        serializer: Serializer,
        channels: Channels,
        window_s: float,
        on_end: Callable[[PollSession], None],
    ) -> None:
        self.id = id_
        self.principal = principal
        self._client = Client(principal, serializer, channels, self)
        self._window_s = window_s
        self._on_end = on_end
        self._outbox = Outbox()
        self._loop = asyncio.get_running_loop()
        self._change = self._loop.create_future()  # resolved, and replaced, when a waiting poll is to look again
        self._emptied = self._loop.create_future()  # resolved, and replaced, when a poll has taken what waits
        self._polls = 0
        self._newest = 0  # which poll gets what comes: the number of polls there have been
        self._ending: asyncio.Task[None] | None = None
        self._patience = self._wait_for_poll()

    @property
    def is_polled(self) -> bool:
        """Whether a poll waits now."""
        return self._polls > 0

    async def poll(self) -> Polled:
        """What waits, at once; else what comes within the window.

        Of several polls at a time the newest gets it; the others are taken for given up, and wait for nothing.
        """
        if self._ending is not None:
            return GONE
        if self._polls >= MAX_POLLS:
            return REFUSED
        self._patience.cancel()
        self._polls += 1
        self._newest += 1
        number = self._newest
        self._look_again()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._window_s):
                    while self._ending is None and not (self._outbox and number == self._newest):
                        await asyncio.shield(self._change)
            return self._taken(number)
        finally:
            self._polls -= 1
            if not self._polls and self._ending is None:
                self._patience = self._wait_for_poll()

    def deliver(self, messages: Sequence[str | bytes]) -> Delivered:
        """Take messages of the client, in their order."""
        for message in messages:
            if self._ending is not None:
                return Delivered(GONE.status)
            try:
                self._client.receive(message)
            except Flooding:
                log.info("flooding_client_cut_off", user_id=self.principal.user_id)
                self.end("flooding")
                return Delivered(429)
            except BadFrame:
                self.end("bad_frame")
                return Delivered(400)
        return Delivered(200 if self._ending is None else GONE.status)

    def send(self, message: str | bytes) -> None:
        """Keep a message for the next poll."""
        if self._ending is not None:
            return
        try:
            self._outbox.put(message)
        except Full:
            log.info("slow_reader_cut_off", queued=len(self._outbox))
            self.end("too_slow")
        else:
            if self._polls:
                self._look_again()

    def send_event(self, event: Broadcast, serializer: Serializer, form: Form) -> None:
        """Keep an event for the next poll."""
        self.send(event.text(serializer, form))

    async def room(self) -> None:
        """Return when a poll has taken what waits, or after a poll's window."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._window_s):
                while self._outbox:
                    await asyncio.shield(self._emptied)

    def end(self, reason: str) -> None:
        """End it, at once for its polls; :meth:`close` waits for the rest."""
        if self._ending is None:
            log.debug("poll_session_ended", reason=reason)
            self._patience.cancel()
            self._outbox.clear()
            self._ending = self._loop.create_task(self._client.close())
            self._look_again()
            self._on_end(self)

    async def close(self, code: int, reason: str) -> None:  # noqa: ARG002 - polls know no close codes
        """End it, and return when that is done."""
        self.end(reason)
        assert self._ending is not None
        await asyncio.shield(self._ending)

    def _taken(self, number: int) -> Polled:
        if self._ending is not None:
            return GONE
        if number != self._newest or not self._outbox:
            return NOTHING
        messages = self._outbox.take()
        emptied, self._emptied = self._emptied, self._loop.create_future()
        emptied.set_result(None)
        return Polled(200, [_text(message) for message in messages])

    def _look_again(self) -> None:
        change, self._change = self._change, self._loop.create_future()
        change.set_result(None)

    def _wait_for_poll(self) -> asyncio.TimerHandle:
        return self._loop.call_later(PATIENCE * self._window_s, self.end, "not_polled")


def _text(message: str | bytes) -> str:
    """What an answer in JSON can carry; binary as clients send it themselves when they poll."""
    return message if isinstance(message, str) else base64.b64encode(message).decode()

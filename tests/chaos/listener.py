"""A channel's client: joins a user's topic, notes the position of every event, and comes back when it is cut off."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Final

import aiohttp

from tests.chaos.asking import Tally
from tests.chaos.excuses import Kind, Trouble
from tests.chaos.history import History, Listening
from tests.customers import Customer

#: The service says itself within its call's deadline that it cannot.
JOIN_WITHIN_S: Final = 16.0
HEARTBEAT_S: Final = 5.0
#: When a front restarts in order it says so, and nothing is wrong.
_RESTART: Final = 1012
_AGAIN_AFTER_S: Final = 0.1
_UNAVAILABLE_S: Final = 0.5
_UNAVAILABLE: Final = 503
_AWAY: Final = frozenset({"unavailable", "database_unavailable"})


class _NotJoinedError(Exception):
    """The service has refused the join."""


class Listener:
    """Listens to its customer's transfers."""

    def __init__(self, name: str, port: int, customer: Customer, history: History, tally: Tally) -> None:
        self.name = name
        self._address = f"ws://127.0.0.1:{port}/socket/websocket"
        self._customer = customer
        self._topic = f"transaction:{customer.user_id}"
        self._history, self._tally = history, tally
        self._now: Listening | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until `stop`; what is heard by then must be all that there is, if nobody has paid for a while."""
        ended = asyncio.ensure_future(stop.wait())
        async with aiohttp.ClientSession() as session:
            while not stop.is_set():
                listening = asyncio.ensure_future(self._connect(session))
                await asyncio.wait({listening, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not listening.done():
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
                    if self._now is not None:
                        self._now.at_rest = True
                else:
                    listening.result()
                    await asyncio.sleep(_AGAIN_AFTER_S)
        ended.cancel()

    async def _connect(self, session: aiohttp.ClientSession) -> None:
        """One connection, to its end."""
        self._now = None
        opened_at, port = time.monotonic(), 0
        parameters = {"vsn": "2.0.0", "token": self._customer.token}
        try:
            async with (
                asyncio.timeout(JOIN_WITHIN_S) as joining,
                session.ws_connect(self._address, params=parameters) as socket,
            ):
                port = socket.get_extra_info("sockname")[1]
                await socket.send_json(["1", "1", self._topic, "phx_join", {}])
                await self._listen(socket, joining)
                if socket.close_code != _RESTART:
                    self._note(Kind.BROKEN, opened_at, f"closed with {socket.close_code}", port)
        except aiohttp.WSServerHandshakeError as error:
            kind = Kind.TURNED_AWAY if error.status == _UNAVAILABLE else Kind.WRONG
            self._note(kind, opened_at, f"{error.status} {error.message}", port)  # its repr has the token
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, ConnectionRefusedError)
            self._note(Kind.DEAF if refused else Kind.BROKEN, opened_at, repr(error), port)
        except _NotJoinedError as error:
            # The same as 503: what the topic holds cannot be read now, and the service says so.
            kind = Kind.UNAVAILABLE if str(error) in _AWAY else Kind.WRONG
            self._note(kind, opened_at, f"not joined: {error}", port)
            await asyncio.sleep(_UNAVAILABLE_S)
        except TimeoutError as error:
            self._note(Kind.SILENT, opened_at, repr(error), port)
        except (aiohttp.ClientError, ConnectionError) as error:
            self._note(Kind.BROKEN, opened_at, repr(error), port)

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse, joining: asyncio.Timeout) -> None:
        beat_at = time.monotonic() + HEARTBEAT_S
        while True:
            if (left_s := beat_at - time.monotonic()) <= 0:
                await socket.send_json([None, "hb", "phoenix", "heartbeat", {}])
                beat_at += HEARTBEAT_S
                continue
            try:
                message = await socket.receive(timeout=left_s)
            except TimeoutError:
                if joining.expired():
                    raise
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            self._hear(json.loads(message.data), joining)

    def _hear(self, frame: list[Any], joining: asyncio.Timeout) -> None:
        _, ref, topic, event, payload = frame
        if topic != self._topic:
            return
        if event == "phx_reply" and ref == "1":
            if payload["status"] != "ok":
                raise _NotJoinedError(payload["response"].get("reason"))
            joining.reschedule(None)
            self._now = Listening(self.name, topic, time.monotonic())
            self._history.listenings.append(self._now)
        elif event == "new_transaction" and self._now is not None:
            self._now.heard.append(payload["seq"])
        elif event in {"phx_error", "phx_close"}:
            self._note(Kind.WRONG, time.monotonic(), f"{event}: {payload}")

    def _note(self, kind: Kind, opened_at: float, words: str, port: int = 0) -> None:
        self._tally.troubles.append(Trouble(self.name, kind, opened_at, time.monotonic(), words, port))

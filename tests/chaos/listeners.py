"""Clients that listen to topics over WebSockets, come back whenever they are thrown out, and keep book of every event.

A listener believes what the server tells it: it goes on from the number that it has come to, and complains if the next
event is not the next one. What its events should have been is judged afterwards, by the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson

from tests.customers import Customer

#: Within this a front must have answered a join.
JOIN_WITHIN_S: Final = 15.0
#: At rest between two attempts, at most.
LONGEST_PAUSE_S: Final = 0.3
_MAX_COMPLAINTS: Final = 20
_CLOSED: Final = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.ERROR)


@dataclass(slots=True)
class Notebook:
    """What all listeners of a run have seen."""

    counts: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    def complain(self, about: str) -> None:
        """Note what must not happen; of many, the first."""
        self.counts["wrong"] += 1
        if len(self.complaints) < _MAX_COMPLAINTS:
            self.complaints.append(about)


@dataclass(slots=True)
class Heard:
    """What a listener has heard of one topic: events after number `began`, each by its digest."""

    topic: str
    began: int = -1
    epoch: str = ""
    events: list[bytes] = field(default_factory=list)

    @property
    def seq(self) -> int:
        """The number of the last event."""
        return self.began + len(self.events)

    @property
    def resume(self) -> dict[str, Any]:
        """What to say when joining."""
        return {} if self.began < 0 else {"epoch": self.epoch, "seq": self.seq}


def digest(event: str, payload: dict[str, Any]) -> bytes:
    """Of an event and all of its payload; but for whether it was replayed."""
    meta = {key: value for key, value in payload["_meta"].items() if key != "replayed"}
    text = orjson.dumps([event, {**payload, "_meta": meta}], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).digest()[:16]


class Listener:
    """Listens to its user's topics until it is told to stop."""

    def __init__(
        self, session: aiohttp.ClientSession, customer: Customer, notebook: Notebook, rng: random.Random
    ) -> None:
        self._session = session
        self._customer = customer
        self._notebook = notebook
        self._rng = rng
        self.heard = [Heard(f"{family}:{customer.user_id}") for family in ("transaction", "notification")]
        self.joined = 0  # how many of its topics it has joined on the present connection

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self._listen()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self._notebook.counts[type(error).__name__] += 1
            self.joined = 0
            await asyncio.sleep(self._rng.uniform(0, LONGEST_PAUSE_S))

    async def _listen(self) -> None:
        async with self._session.ws_connect(
            f"/socket/websocket?vsn=2.0.0&token={self._customer.token}", timeout=aiohttp.ClientWSTimeout(ws_close=1.0)
        ) as ws:
            self._notebook.counts["connected"] += 1
            for number, heard in enumerate(self.heard):
                await ws.send_str(
                    orjson.dumps([str(number), str(number), heard.topic, "phx_join", {"resume": heard.resume}]).decode()
                )
            await self._read(ws)

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        by_topic = {heard.topic: heard for heard in self.heard}
        while True:
            message = await ws.receive(timeout=JOIN_WITHIN_S if self.joined < len(self.heard) else None)
            if message.type in _CLOSED:
                self._notebook.counts[f"closed {ws.close_code}"] += 1
                return
            _, _, topic, event, payload = orjson.loads(message.data)
            heard = by_topic[topic]
            if event == "phx_reply":
                if payload["status"] != "ok":
                    self._notebook.counts[f"join refused: {payload['response']['reason']}"] += 1
                    return
                self._joined(heard, payload["response"]["resume"])
            elif event == "phx_error":
                self._notebook.counts["phx_error"] += 1
                return
            else:
                self._take(heard, event, payload)

    def _joined(self, heard: Heard, resume: dict[str, Any]) -> None:
        self.joined += 1
        if heard.began < 0:
            heard.began, heard.epoch = resume["seq"], resume["epoch"]
        elif not resume["recovered"] or resume["seq"] != heard.seq + resume["count"]:
            self._notebook.complain(f"{heard.topic}: had {heard.seq}, was told {resume}")
        else:
            self._notebook.counts["resumed"] += 1
            self._notebook.counts["replayed"] += resume["count"]

    def _take(self, heard: Heard, event: str, payload: dict[str, Any]) -> None:
        seq = payload["_meta"]["seq"]
        if seq != heard.seq + 1:
            self._notebook.complain(f"{heard.topic}: had {heard.seq}, was sent {seq}")
            return
        heard.events.append(digest(event, payload))
        self._notebook.counts["events"] += 1

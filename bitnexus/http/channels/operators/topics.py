"""The readers of the operators' topics at one front: a topic's feed runs while it has any, and each is present in it.

A reader gets, after the answer to its join: what the feed has to begin with, then `presence_state`, then what comes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import orjson

from bitnexus.actors.runtime.log_tail import LogLines
from bitnexus.http.channels.broadcast import Broadcast
from bitnexus.http.channels.hub import Reader
from bitnexus.http.channels.operators.exchange import Exchange
from bitnexus.http.channels.operators.presences import Difference
from bitnexus.http.channels.topics import ADMIN_LOG, ADMIN_METRICS, ADMIN_TREE
from bitnexus.principal import Principal

TOPICS: Final = (ADMIN_TREE, ADMIN_METRICS, ADMIN_LOG)


class OperatorReader(Reader, Protocol):
    """A reader of whom it is known who it is."""

    @property
    def principal(self) -> Principal:
        """Who reads."""


class Feed(Protocol):
    """Where a topic's events come from; it does nothing while nobody reads."""

    def start(self) -> None:
        """The first reader has come."""

    def stop(self) -> None:
        """The last one has left."""

    async def opening(self) -> tuple[str, object] | None:
        """The event and payload with which a reader begins, if there are any.

        What is published after this returns comes after it. Raises RuntimeFault: it cannot be had.
        """


class OperatorTopics:
    """`exchange`, `feeds` (by topic) and `log_lines` are set before the first reader comes (see assembly.py)."""

    def __init__(self) -> None:
        self.exchange: Exchange
        self.feeds: Mapping[str, Feed]
        self.log_lines: Callable[[LogLines], None]
        self._readers: dict[str, dict[OperatorReader, str]] = {topic: {} for topic in TOPICS}  # → ref of presence

    async def subscribe(self, topic: str, reader: OperatorReader) -> None:
        """Return when the reader has what it begins with. Repeating it is harmless: it begins anew.

        Raises:
            RuntimeFault: it is no reader of the topic.
        """
        readers, feed = self._readers[topic], self.feeds[topic]
        if not readers:
            feed.start()
        readers.setdefault(reader, "")
        try:
            opening = await feed.opening()
            if reader not in readers:
                return  # it has left meanwhile
            if not readers[reader]:
                readers[reader] = self.exchange.join(topic, reader.principal.user_id)
        except BaseException:
            self.unsubscribe(topic, reader)
            raise
        if opening is not None:
            reader.deliver(_broadcast(topic, *opening))
        reader.deliver(_broadcast(topic, "presence_state", self.exchange.state(topic)))

    def unsubscribe(self, topic: str, reader: OperatorReader) -> None:
        """The reader gets no more of the topic."""
        ref = self._readers[topic].pop(reader, None)
        if ref is None:
            return
        if ref:
            self.exchange.leave(ref)
        if not self._readers[topic]:
            self.feeds[topic].stop()

    def publish(self, topic: str, event: str, payload: object) -> None:
        """An event for the topic's readers; `payload` is JSON text already, or to be made that."""
        if self._readers[topic]:
            broadcast = _broadcast(topic, event, payload)
            # Those who wait for their opening get nothing that it does not have behind it.
            for reader in [reader for reader, ref in self._readers[topic].items() if ref]:
                reader.deliver(broadcast)

    def present(self, difference: Difference) -> None:
        """Somebody has come or left, here or elsewhere."""
        self.publish(difference.topic, "presence_diff", difference.payload())


def _broadcast(topic: str, event: str, payload: object) -> Broadcast:
    return Broadcast(topic, event, payload if isinstance(payload, str) else orjson.dumps(payload).decode())

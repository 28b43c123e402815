"""`admin:metrics`: a few numbers of the node each second, while somebody listens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from bitnexus.actors.runtime.message import GetMetrics, Metrics
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import BitNexusError
from bitnexus.http.channels.hub import Spawn
from bitnexus.http.channels.operators.running_feed import RunningFeed
from bitnexus.http.channels.operators.vital_signs import Sample, read, vital_signs

EVERY_S: Final = 1.0
ANSWER_S: Final = 0.8


class MetricsFeed(RunningFeed):
    """`publish` takes an event and its payload; `own` gives the metrics of this process, whose name is `front`."""

    def __init__(
        self, node: Node, front: str, own: Callable[[], str], spawn: Spawn, publish: Callable[[str, object], None]
    ) -> None:
        super().__init__(node, spawn, publish)
        self._front = front
        self._own = own

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        before = await self._sample()
        while True:
            await asyncio.sleep(max(0.0, before.at_s + EVERY_S - loop.time()))
            now = await self._sample()
            self._publish("metrics", {"at_ms": int(time.time() * 1000), **vital_signs(before, now)})
            before = now

    async def _sample(self) -> Sample:
        at_s = asyncio.get_running_loop().time()
        names = [name for name in self._node.names() if name != self._front]
        answers = await asyncio.gather(*(self._metrics_of(name) for name in names))
        texts = {name: text for name, text in zip(names, answers, strict=True) if text is not None}
        return read({**texts, self._front: self._own()}, at_s)

    async def _metrics_of(self, name: str) -> str | None:
        try:
            answer = await self._node.call(name, GetMetrics(), timeout_s=ANSWER_S)
        except BitNexusError:
            return None  # then it is not among the processes that are counted
        return answer.text if isinstance(answer, Metrics) else None

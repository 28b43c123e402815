"""`admin:tree`: the tree to begin with, then what changes in it, as the supervisors report it.

Looked at when a name comes up or goes down, which everybody is told of at once, and every second to be sure.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from bitnexus.actors.runtime.message import ProcessInfo
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import RuntimeFault
from bitnexus.http.channels.hub import Spawn
from bitnexus.http.channels.operators.running_feed import RunningFeed
from bitnexus.http.channels.operators.tree_changes import Row, changes, rows, shown
from bitnexus.operations.survey import survey

LOOK_S: Final = 1.0
#: After a name's change: what happens together is told together, and a supervisor has noticed by then.
SETTLE_S: Final = 0.02

log = structlog.get_logger(__name__)


class TreeFeed(RunningFeed):
    """`publish` takes an event and its payload."""

    def __init__(self, node: Node, root_name: str, spawn: Spawn, publish: Callable[[str, object], None]) -> None:
        super().__init__(node, spawn, publish)
        self._root_name = root_name
        self._known: dict[str, Row] | None = None
        self._monitors: dict[str, Callable[[], None]] = {}
        self._moved = asyncio.Event()

    def stop(self) -> None:
        """See the protocol of feeds."""
        super().stop()
        for forget in self._monitors.values():
            forget()
        self._monitors.clear()
        self._known = None

    async def opening(self) -> tuple[str, object]:
        """The whole tree."""
        found = self._known
        if found is None:
            found = rows(await survey(self._node, self._root_name))
            if self._known is not None:
                found = self._known
            elif self._running is not None:  # else there is no reader any more
                self._know(found)
        return "tree", {"processes": shown(found.values())}

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), LOOK_S)
                await asyncio.sleep(SETTLE_S)
            self._moved.clear()
            if self._known is None:
                continue
            try:
                found = rows(await survey(self._node, self._root_name))
            except RuntimeFault as error:
                log.warning("tree_not_readable", error=error.code)
                continue
            changed = changes(self._known, found)
            self._know(found)
            if changed:
                self._publish("tree_diff", {"changes": changed})

    def _know(self, found: dict[str, Row]) -> None:
        self._known = found
        names = {path.rpartition("/")[2] for path in found}
        for name in names - self._monitors.keys():
            self._monitors[name] = self._node.monitor(name, on_up=self._look, on_down=self._look)
        for name in self._monitors.keys() - names:
            self._monitors.pop(name)()

    def _look(self, _: ProcessInfo) -> None:
        self._moved.set()

"""What a process knows of the node's names, and who in it wants to hear of changes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bitnexus.actors.runtime.message import NamesChanged, ProcessInfo

OnName = Callable[[ProcessInfo], None]


@dataclass(frozen=True, slots=True)
class _Monitor:
    name: str
    on_up: OnName | None
    on_down: OnName | None


class NameTable:
    """A copy of the registry's table; `on_up` hears of every name, before the monitors do."""

    def __init__(self, on_up: OnName) -> None:
        self._by_name: dict[str, ProcessInfo] = {}
        self._monitors: list[_Monitor] = []
        self._on_up = on_up

    def get(self, name: str) -> ProcessInfo | None:
        """Who holds `name`."""
        return self._by_name.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._by_name)

    def at(self, address: str) -> list[ProcessInfo]:
        """Those who are said to listen at `address`."""
        return [info for info in self._by_name.values() if info.address == address]

    def monitor(self, name: str, on_up: OnName | None, on_down: OnName | None) -> Callable[[], None]:
        """See Node.monitor."""
        monitor = _Monitor(name, on_up, on_down)
        self._monitors.append(monitor)
        info = self._by_name.get(name)
        if info is not None and on_up is not None:
            on_up(info)

        def forget() -> None:
            if monitor in self._monitors:
                self._monitors.remove(monitor)

        return forget

    def change(self, change: NamesChanged) -> None:
        """The registry announced a change."""
        for info in change.down:
            self.down(info)
        for info in change.up:
            self.up(info)

    def synchronise(self, processes: Iterable[ProcessInfo]) -> None:
        """The registry told its whole table."""
        present = {info.name: info for info in processes}
        for info in [each for each in self._by_name.values() if each.name not in present]:
            self.down(info)
        for info in present.values():
            self.up(info)

    def up(self, info: ProcessInfo) -> None:
        """`info` holds its name; whoever held it before is dead."""
        known = self._by_name.get(info.name)
        if known == info:
            return
        if known is not None:
            self.down(known)
        self._by_name[info.name] = info
        self._on_up(info)
        for monitor in self._interested_in(info.name):
            if monitor.on_up is not None:
                monitor.on_up(info)

    def down(self, info: ProcessInfo) -> None:
        """`info` is dead; nothing happens when its name is another's already."""
        if self._by_name.get(info.name) != info:
            return
        del self._by_name[info.name]
        for monitor in self._interested_in(info.name):
            if monitor.on_down is not None:
                monitor.on_down(info)

    def _interested_in(self, name: str) -> list[_Monitor]:
        # A copy: a callback may add monitors and forget them.
        return [monitor for monitor in self._monitors if monitor.name == name]

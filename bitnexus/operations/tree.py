"""The tree as it is seen at one moment, and the way to a path in it. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bitnexus.errors import UnknownPath

#: What has a process.
ALIVE: Final = frozenset({"starting", "running", "suspended", "stopping"})
_NEAR: Final = 3
_LONGEST_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Branch:
    """A process and what is below it, in start order.

    `status` is that of the process at its supervisor; `strategy` and the restarts that count are a supervisor's own.
    `replicas`: each of its children can do the work of all; known of a supervisor that runs.
    `children` are those that it has, `declared` those that it has when it starts: one that is stopped has none.
    `uptime_s` is None for one that does not run; `stop_within_s` is None where it is never killed.
    """

    path: str
    kind: str = "worker"
    status: str = "running"
    pid: int | None = None
    restart: str = "permanent"
    stop_within_s: float | None = 5.0
    children: tuple[Branch, ...] = ()
    declared: tuple[Branch, ...] = ()
    strategy: str = "one_for_one"
    replicas: bool = False
    restarts_used: int = 0
    restarts_allowed: int = 3
    period_s: float = 5.0
    uptime_s: float | None = None
    restarts: int = 0
    mailbox: int = 0
    last_exit: str = ""
    last_exit_us: int = 0
    note: str = ""

    @property
    def name(self) -> str:
        """The name by which it is registered."""
        return self.path.rpartition("/")[2]

    @property
    def is_alive(self) -> bool:
        """Whether there is a process."""
        return self.status in ALIVE

    def all(self) -> Iterator[Branch]:
        """This and everything below, each before its children."""
        yield self
        for child in self.shown:
            yield from child.all()

    @property
    def shown(self) -> tuple[Branch, ...]:
        """What is below it; of one that does not run, what would be."""
        return self.children if self.is_alive else self.declared


@dataclass(frozen=True, slots=True)
class Place:
    """What a path leads to: a process, or a light actor (`key`) in it; `parent` is None for the root."""

    branch: Branch
    parent: Branch | None
    key: str = ""

    @property
    def path(self) -> str:
        """The path."""
        return f"{self.branch.path}/{self.key}" if self.key else self.branch.path


def find(root: Branch, path: str) -> Place:
    """What `path` leads to; "" is the root. Whether there is such a light actor, only its process knows.

    Raises:
        UnknownPath: there is none; says which come near.
    """
    wanted = path.strip("/") or root.path
    parent, here = None, root
    first, *rest = wanted.split("/")
    if first != root.name:
        raise unknown(root, wanted)
    while rest:
        child = next((each for each in here.shown if each.name == rest[0]), None)
        if child is None:
            if here.kind == "worker" and len(rest) == 1 and rest[0]:
                return Place(here, parent, rest[0])
            raise unknown(root, wanted)
        parent, here, rest = here, child, rest[1:]
    return Place(here, parent)


def unknown(root: Branch, wanted: str) -> UnknownPath:
    """The error for a path that leads nowhere."""
    shown = wanted[:_LONGEST_SHOWN]
    near = near_matches(root, wanted)
    return UnknownPath(f"There is no {shown!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))


def near_matches(root: Branch, wanted: str) -> list[str]:
    """The paths that are most like `wanted`: by their last name first, so that a name alone finds its path."""
    paths = {branch.path: branch.name for branch in root.all()}
    name = wanted.rpartition("/")[2][:_LONGEST_SHOWN]
    found = [path for path, known in paths.items() if known == name]
    likely = difflib.get_close_matches(name, list(paths.values()), n=_NEAR, cutoff=0.6)
    found += [path for each in likely for path, known in paths.items() if known == each]
    found += difflib.get_close_matches(wanted[:_LONGEST_SHOWN], list(paths), n=_NEAR, cutoff=0.6)
    return list(dict.fromkeys(found))[:_NEAR]

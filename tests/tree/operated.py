"""A supervisor that tests can operate and look into by messages."""

from __future__ import annotations

from functools import partial

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.process import handles
from bitnexus.supervision import events as ev
from bitnexus.supervision.supervisor import Supervisor


class Operate(Message, frozen=True, tag="test.Operate/1"):
    """Do this to a child: start (one of the argument `later`), restart, delete or terminate."""

    what: str
    child: str


class Result(Message, frozen=True, tag="test.Result/1"):
    """`code` is "ok" or the error's."""

    code: str
    pid: int | None = None


class Look(Message, frozen=True, tag="test.Look/1"):
    """Ask for the children and how they ended."""


class Seen(Message, frozen=True, tag="test.Seen/1"):
    """Per child, oldest first: its pid, "restarting" or None; and why it ended, each time."""

    children: dict[str, int | str | None]
    ends: dict[str, list[str]]
    crashes: int
    restarts: int
    failed_starts: int
    restarts_used: int


class Operated(Supervisor):
    """Args besides a supervisor's: `later` (dict of ChildSpec by id), what `Operate("start", …)` may start."""

    @handles(Operate)
    async def carry_out(self, message: Operate, context: Context) -> Result:
        child_id = message.child
        match message.what:
            case "start":
                result = await self.operate(partial(ev.StartChild, self.args["later"][child_id]))
            case "restart":
                result = await self.operate(partial(ev.RestartChild, child_id))
            case "delete":
                result = await self.operate(partial(ev.DeleteChild, child_id))
            case "terminate":
                result = await self.operate(partial(ev.TerminateChild, child_id))
            case _:
                raise AssertionError(message.what)
        if isinstance(result, ev.Error):
            return Result(result.code, result.detail if isinstance(result.detail, int) else None)
        assert result.pid is None or isinstance(result.pid, int)
        return Result("ok", result.pid)

    @handles(Look)
    def look(self, message: Look, context: Context) -> Seen:
        rows = self._machine.which_children()
        history = self._machine.history
        assert all(row.child is None or isinstance(row.child, int | str) for row in rows)
        return Seen(
            {row.id: row.child for row in reversed(rows)},  # type: ignore[misc]  # as just asserted
            {child_id: [str(end.reason) for end in history.of(child_id)] for child_id, _ in history.latest(1000)},
            history.totals.crashes,
            history.totals.restarts,
            history.totals.failed_starts,
            self._machine.restarts_used(self.transport.loop.time()),
        )

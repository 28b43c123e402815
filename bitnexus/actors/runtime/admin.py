"""Thespian's admin, with what it needs to outlive its logger.

Thespian replaces a logger that has died, but hears of no death while it has none: one that dies before it has said that
it is there would be the last, and the admin would keep whatever comes for ever.
"""

from __future__ import annotations

import time
from typing import Any, Final

from thespian.system.messages.multiproc import ChildMayHaveDied
from thespian.system.multiprocCommon import MultiProcAdmin, _startLogger

#: From one start of a logger to the next, at least: one that cannot start must not be forked without a pause.
LOGGER_EVERY_S: Final = 0.1


class Admin(MultiProcAdmin):  # type: ignore[misc]  # Thespian has no type hints
    """The one of each node; it runs in a process of its own, on our transport."""

    asLogProc: Any  # set before the admin runs
    _logger_started_at = -LOGGER_EVERY_S

    @property
    def logDefs(self) -> Any:
        """What loggers are to do: Thespian 4.0.1 asks by this name when one has died, and has the other."""
        return self.logdefs

    def _handleReplicatorMessages(self, envelope: Any) -> tuple[bool, Any]:
        if isinstance(envelope.message, ChildMayHaveDied):
            return True, self.childDied()
        handled: tuple[bool, Any] = super()._handleReplicatorMessages(envelope)
        return handled

    def childDied(self) -> Any:
        """A child may have died, the logger perhaps."""
        logger = self.asLogProc
        if logger is not None and not self._checkChildLiveness(logger) and not self.isShuttingDown():
            self.asLogger = self.asLogProc = None  # so it is not looked for any more
            wait_s = max(0.0, self._logger_started_at + LOGGER_EVERY_S - time.monotonic())
            self.transport.loop.call_later(wait_s, self.transport.outside_loop, self._replace_logger)
        return super().childDied()

    def _replace_logger(self) -> None:
        if not self.isShuttingDown():
            self._logger_started_at = time.monotonic()
            _startLogger(type(self.transport), self.transport, self, self.capabilities, self.logdefs, self.mpcontext)

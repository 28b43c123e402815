"""The same settings, journal and log as the tests of the runtime have."""

from __future__ import annotations

from tests.integration.runtime.conftest import journal, log, settings

__all__ = ["journal", "log", "settings"]

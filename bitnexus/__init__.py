"""BitNexus: a money service built as a supervision tree of actors."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitnexus.client import connect as connect
    from bitnexus.client import connect_sync as connect_sync

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # When they are asked for: the service itself has no use for the client.
    if name in {"connect", "connect_sync"}:
        return getattr(importlib.import_module("bitnexus.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

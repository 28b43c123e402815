"""The service with handlers for pushes to a user's topic, which clients of the tests need: an echo, and one that fails.

`work` answers with what was pushed, text or binary, and raises for the payload ``{"crash": true}``.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from bitnexus.cli import main
from bitnexus.http import front
from bitnexus.http.channels.client import Channels, Push


async def work(push: Push) -> dict[str, Any] | bytes:
    """See the module."""
    if isinstance(push.payload, bytes):
        return push.payload[::-1]
    if push.payload.get("crash"):
        raise RuntimeError("as the test wants")
    return {"echo": push.payload}


def channels(*arguments: Any, **options: Any) -> Channels:
    """In the place of the front's."""
    made = Channels(*arguments, **options)
    return dataclasses.replace(made, handlers={**made.handlers, ("transaction", "work"): work})


if __name__ == "__main__":
    front.Channels = channels  # type: ignore[attr-defined, assignment] # as the front makes them
    main(["serve"])

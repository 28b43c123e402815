"""The mark of a handler: which message a method of a process takes, and whether clients may send it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from bitnexus.actors.runtime.message import Message

H = TypeVar("H", bound=Callable[..., Any])


def handles(message: type[Message], *, clients: bool = False) -> Callable[[H], H]:
    """Marks a method of a Process as the handler of `message`; with `clients` also for clients whom it permits."""

    def mark(method: H) -> H:
        method.__dict__.setdefault("handled", []).append(message)
        if clients:
            method.__dict__.setdefault("opened", []).append(message)
        return method

    return mark

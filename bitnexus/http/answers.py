"""What an actor answered, as the type that was asked for."""

from __future__ import annotations

from typing import TypeVar

from bitnexus.actors.runtime.message import Message
from bitnexus.errors import UnknownMessage

M = TypeVar("M", bound=Message)


def expect(wanted: type[M], answer: Message) -> M:
    """The answer, if it is of the wanted type.

    Raises:
        UnknownMessage: it is not: the callee is of another version, or wrong.
    """
    if not isinstance(answer, wanted):
        raise UnknownMessage(f"expected {wanted.__name__}, got {type(answer).__name__}")
    return answer

"""Which key of a command says by which partition it is served: the user's whose actor takes it. Pure."""

from __future__ import annotations

from typing import Final

from bitnexus.actors.runtime.message import Message

#: The supervisor of the partitions; they are called after it.
TRANSACTIONS: Final = "transactions"


def user_of(message: Message) -> str | None:
    """The user whose transaction actor takes this command: whose it is, or who is to own what it makes ("": nobody).

    None for what is no command of a user.
    """
    user_id: str | None = getattr(message, "user_id", None)
    return getattr(message, "owner_id", None) if user_id is None else user_id

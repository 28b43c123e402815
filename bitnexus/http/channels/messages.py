"""What fronts say to each other about the clients of channels, and what is said to them."""

from __future__ import annotations

import msgspec

from bitnexus.actors.runtime.message import Message
from bitnexus.principal import Principal


class Poll(Message, frozen=True, tag="Poll/1"):
    """A poll for a session of another front arrived here: answered by :class:`Polled` within the poll's window.

    What the answer brings has left the session. If it does not arrive, or cannot be passed on, the session must be
    ended: its client must see that something is missing.
    """

    session: str


class Polled(Message, frozen=True, tag="Polled/1"):
    """`status` 200: these messages; 204: there was nothing; 410: there is no such session (any more)."""

    status: int
    messages: list[str] = msgspec.field(default_factory=list)


class Deliver(Message, frozen=True, tag="Deliver/1"):
    """What a client posted for a session of another front (see poll_body.py). Answered by :class:`Delivered`.

    BadRequest or PayloadTooLarge if it is no batch of messages.
    """

    session: str
    body: bytes
    batched: bool


class Delivered(Message, frozen=True, tag="Delivered/1"):
    """`status` 200: taken; 410: no such session; 400 or 429: no frames, or too many of them: the session has ended."""

    status: int


class EndSession(Message, frozen=True, tag="EndSession/1"):
    """End a session of another front, if it is there. A cast."""

    session: str


class DisconnectUser(Message, frozen=True, tag="DisconnectUser/1"):
    """Ask any front to have all channel connections of a user closed, at all fronts. Answered by :class:`Disconnected`.

    Sockets are closed with 1001. The clients come back if their token still lets them in.
    """

    user_id: str

    def permits(self, sender: Principal) -> bool:
        """An operator."""
        return sender.role == "admin"


class CloseConnections(Message, frozen=True, tag="CloseConnections/1"):
    """Close a user's channel connections at this front. Answered by :class:`Disconnected`."""

    user_id: str


class Disconnected(Message, frozen=True, tag="Disconnected/1"):
    """So many connections were closed."""

    count: int

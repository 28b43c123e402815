"""What a client may send to a process of the node. Pure.

Two must agree: the receiving class, which opens a handler to clients (``@handles(X, clients=True)``), and the message,
which knows whose it is (``Message.permits``). Both say no unless told otherwise, so that a new message, or a new
handler, is internal to the node until somebody decides that it is not.
"""

from __future__ import annotations

from bitnexus.actors.runtime.message import Message
from bitnexus.errors import Forbidden
from bitnexus.principal import Principal

#: A client that shows the cookie and no token: it may read what is public.
ANONYMOUS = Principal(user_id="", role="", expires_at=float("inf"))


def refusal(message: Message, sender: Principal, opened: frozenset[type[Message]]) -> Forbidden | None:
    """Why `sender` may not send `message` to a process that opens `opened` to clients; None when it may."""
    name = type(message).__name__
    if type(message) not in opened:
        return Forbidden(f"{name} is not taken from clients here")
    if not message.permits(sender):
        who = f"A client with the role {sender.role}" if sender.role else "A client without an access token"
        return Forbidden(f"{who} may not send this {name}")
    return None

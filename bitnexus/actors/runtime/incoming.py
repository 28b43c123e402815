"""Which of the calls that arrive are begun: what a client may not ask is refused, what was withdrawn is left."""

from __future__ import annotations

import time

import structlog

from bitnexus.actors.runtime import access
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import Message
from bitnexus.errors import Overloaded
from bitnexus.principal import Principal

#: Calls that were withdrawn before they came, of one peer; the oldest is forgotten first.
MAX_CANCELLED_EARLY = 4_096
#: Calls of one client that a process has not answered.
MAX_CLIENT_CALLS = 1_024
#: Forbidden calls over one connection, each with its line in the log; then it is closed.
MAX_REFUSALS = 100

log = structlog.get_logger("bitnexus.runtime")


def is_permitted(client: Principal, message: Message, context: Context, opened: frozenset[type[Message]]) -> bool:
    """Whether a client's call to a process that opens `opened` to clients may be begun; else it is answered."""
    error = access.refusal(message, client, opened)
    if error is not None:
        log.warning(
            "client_refused", peer=context.connection.remote, user_id=client.user_id, message=type(message).__name__
        )
        context.fail(error)
        context.connection.refusals += 1
        if context.connection.refusals >= MAX_REFUSALS:
            context.connection.close("too many calls that this client may not make", flush=True)
        return False
    if client.expires_at <= time.time():  # the clock of the connection's own timer may have been asleep
        context.connection.close("the client's access token has expired")
        return False
    if context.connection.open_calls >= MAX_CLIENT_CALLS:
        context.fail(Overloaded("this client has too many calls without an answer"))
        return False
    return True


def withdraw(connection: Connection, ref: int) -> None:
    """The peer does not wait for its call `ref` any more: what has not begun will not."""
    context = connection.taken.get(ref)
    if context is not None:
        context.cancelled = True
        return
    # The control lane is the faster one: the call may be still to come. Or it has been answered.
    connection.cancelled_early[ref] = None
    if len(connection.cancelled_early) > MAX_CANCELLED_EARLY:
        del connection.cancelled_early[next(iter(connection.cancelled_early))]

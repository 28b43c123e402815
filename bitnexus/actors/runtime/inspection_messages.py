"""What operators' commands come to in the end: questions and orders to a single process. Internal to the node.

They are the node's own (`is_control`): a process takes them while it is suspended, and while its mailbox is full.
"""

from __future__ import annotations

from typing import ClassVar

from bitnexus.actors.runtime.message import Message

#: What a summary of a state is made of.
Scalar = str | int | float | bool | None


class Suspend(Message, frozen=True, tag="Suspend/1"):
    """Take no message but the node's own until :class:`Resume`; the others wait. Heartbeats go on. Answered by Done."""

    is_control: ClassVar[bool] = True


class Resume(Message, frozen=True, tag="Resume/1"):
    """Go on with what waited, after Suspend or Drain. Answered by Done."""

    is_control: ClassVar[bool] = True


class Drain(Message, frozen=True, tag="Drain/1"):
    """Take no more, as suspended, and finish what was taken; answered by :class:`Drained` after `within_s` at most."""

    is_control: ClassVar[bool] = True

    within_s: float


class Drained(Message, frozen=True, tag="Drained/1"):
    """How many messages taken before have not been finished; 0: all of them have."""

    is_control: ClassVar[bool] = True

    left: int


class GetState(Message, frozen=True, tag="GetState/1"):
    """Ask a process for a summary of its state; answered by :class:`StateSummary`."""

    is_control: ClassVar[bool] = True


class StateSummary(Message, frozen=True, tag="StateSummary/1"):
    """Safe to show: counts, heights, names of states; never a secret, a body or another user's data."""

    is_control: ClassVar[bool] = True

    fields: dict[str, Scalar]


class TraceMailbox(Message, frozen=True, tag="TraceMailbox/1"):
    """Ask for the next `count` messages, of those that come within `within_s`; answered by :class:`MailboxTraced`.

    With `key` those for the light actor of this name alone.
    """

    is_control: ClassVar[bool] = True

    count: int
    within_s: float
    key: str = ""


class TracedMessage(Message, frozen=True, tag="TracedMessage/1"):
    """One message that was received: when (µs since 1970), of which type, from whom, how many bytes; never what."""

    time_us: int
    message: str
    sender: str
    size: int
    is_call: bool


class MailboxTraced(Message, frozen=True, tag="MailboxTraced/1"):
    """The messages, in the order in which they came."""

    is_control: ClassVar[bool] = True

    messages: list[TracedMessage]

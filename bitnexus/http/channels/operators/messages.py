"""What fronts say to each other about who is present in the topics of operators."""

from __future__ import annotations

from bitnexus.actors.runtime.message import Message


class Presence(Message, frozen=True, tag="Presence/1"):
    """Somebody (`key`, a user's id) in a topic, by one channel, whose `ref` is unique; since `online_at` (seconds)."""

    topic: str
    key: str
    ref: str
    online_at: int
    front: str


class PresencesHeld(Message, frozen=True, tag="PresencesHeld/1"):
    """Front → front: all that are present at `front`, in this `life` (the instance of its process). Answered by Done.

    Repeating it is harmless.
    """

    front: str
    life: str
    presences: list[Presence]

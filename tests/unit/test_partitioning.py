"""Every command that a partition takes is routed by the key under which the partition's actors know it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from bitnexus.actors.messages import GetMetrics, GetPartitions
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.transactions.partition import Partition
from bitnexus.actors.transactions.partitioning import user_of
from bitnexus.actors.transactions.user import Command

#: What a partition takes from users.
COMMANDS: list[type[Message]] = [
    message for message in Partition._handlers if message in getattr(Command, "__args__", (Command,))
]


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("message", COMMANDS, ids=lambda message: message.__name__)
def test_a_command_is_sent_again_to_the_partition_that_knows_its_key(message: type[Message]) -> None:
    fields: dict[str, Any] = {field.name: f"the {field.name}" for field in msgspec.structs.fields(message)}
    told: list[str] = []
    partition = SimpleNamespace(
        _users=SimpleNamespace(tell=lambda key, *_: told.append(key)), _check_owner=lambda *_: None
    )
    command = message(**fields)
    Partition._handlers[message](partition, command, None)
    assert told == [user_of(command)]


def test_a_command_for_nobody_has_a_key_and_a_question_has_none() -> None:
    nobodys = next(message for message in COMMANDS if message.__name__ == "CreateAccount")
    fields = {field.name: "" for field in msgspec.structs.fields(nobodys)}
    assert user_of(nobodys(**fields)) == ""
    assert user_of(GetMetrics()) is None
    assert user_of(GetPartitions()) is None

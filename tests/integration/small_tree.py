"""A tree without HTTP for tests: ledger, one partition, the notifier, and a front that only notes events."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.messages import (
    AccountOpened,
    AcknowledgeEvents,
    EventsAcknowledged,
    OpenAccount,
    PostTransfer,
    Subscribe,
    Subscribed,
    TopicEvent,
    TransferResult,
)
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.config import get_settings, logging
from bitnexus.errors import RuntimeFault
from bitnexus.supervision.launcher import Launcher
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags

ASSET = "USD/2"
WORLD = world_account_id(ASSET)
ADMIN = str(uuid.uuid4())
PARTITION, NOTIFIER, FRONT = "transactions-0", "notifier", "http-0"
TIMEOUT_S = 15.0

Scenario = Callable[["Tree"], Awaitable[None]]


class GetSeen(Message, frozen=True, tag="GetSeen/1"):
    """Ask the test's front for the events it has got."""


class Seen(Message, frozen=True, tag="Seen/1"):
    """Every event, as it came."""

    events: list[TopicEvent]


class NotingFront(Process):
    """Notes the events it gets. It subscribes to nothing: the scenario does in its name."""

    async def init(self) -> None:
        self._events: list[TopicEvent] = []

    @handles(TopicEvent)
    def note(self, event: TopicEvent, context: Context) -> None:
        self._events.append(event)

    @handles(AcknowledgeEvents)
    def acknowledge(self, message: AcknowledgeEvents, context: Context) -> EventsAcknowledged:
        return EventsAcknowledged(message.seq)

    @handles(GetSeen)
    def seen(self, message: GetSeen, context: Context) -> Seen:
        return Seen(self._events)


class Tree:
    """What a scenario drives."""

    def __init__(self, launcher: Launcher) -> None:
        self.node = launcher.node

    async def ask(self, name: str, message: Message, *, timeout_s: float = TIMEOUT_S) -> Any:
        return await self.node.call(name, message, timeout_s=timeout_s, retry=True)

    async def open(self, user: str) -> str:
        """A new account of the user."""
        account = str(uuid.uuid4())
        opened = await self.ask(PARTITION, OpenAccount(account, user, ASSET))
        assert isinstance(opened, AccountOpened)
        return account

    async def fund(self, account: str, amount: int) -> TransferResult:
        """Money from the world account."""
        return await self.post(ADMIN, WORLD, account, amount, role="admin")

    async def fund_seq(self, account: str) -> int:
        """The position of a transfer of 1 from the world account."""
        result = await self.fund(account, 1)
        assert result.transfer is not None
        return result.transfer.seq

    async def post(self, user: str, debit: str, credit: str, amount: int = 1, *, role: str = "user") -> TransferResult:
        """One transfer; every repeat of it has the same id."""
        transfer_id = str(uuid.uuid4())
        result = await self.ask(PARTITION, PostTransfer(user, role, transfer_id, debit, credit, amount, ASSET))
        assert isinstance(result, TransferResult)
        assert result.transfer_id == transfer_id
        return result

    async def subscribe(self, user: str, after_seq: int = -1) -> int:
        """The front's subscription of a user's topic; as a front does, again while the notifier is not ready."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                try:
                    answer = await self.ask(NOTIFIER, Subscribe(FRONT, [f"transaction:{user}"], after_seq))
                except RuntimeFault:
                    await asyncio.sleep(0.02)
                else:
                    break
        assert isinstance(answer, Subscribed)
        return answer.seq

    async def seen(self, user: str) -> list[int]:
        """Positions of the user's events that the front has got, in order, each once."""
        answer = await self.ask(FRONT, GetSeen())
        assert isinstance(answer, Seen)
        found: list[int] = []
        for event in answer.events:
            # As a front does: what is not after the last one is a repetition.
            if event.topic == f"transaction:{user}" and (not found or event.seq > found[-1]):
                found.append(event.seq)
        return found

    async def until_seen(self, user: str, expected: list[int]) -> None:
        """Wait until the front has got these events and no other."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while len(await self.seen(user)) < len(expected):
                    await asyncio.sleep(0.02)
        finally:
            seen = await self.seen(user)
            assert seen == expected, (seen, expected)

    def signal(self, name: str, number: int) -> int:
        """Send a signal to the process; its pid."""
        info = self.node.whereis(name)
        assert info is not None
        os.kill(info.pid, number)
        return info.pid

    async def kill(self, name: str) -> None:
        """SIGKILL it and wait for its successor."""
        pid = self.signal(name, signal.SIGKILL)
        async with asyncio.timeout(TIMEOUT_S):
            while (info := self.node.whereis(name)) is None or info.pid == pid:
                await asyncio.sleep(0.01)


def run(scenario: Scenario, partition: str = "bitnexus.actors.transactions.partition:Partition") -> None:
    """Start the tree, run the scenario, stop the tree. Needs a process without threads and loops."""
    logging.configure(get_settings(), process="main")
    children = [
        ChildSpec("ledger", ProcessStart("bitnexus.actors.ledger.actor:Ledger")),
        ChildSpec(PARTITION, ProcessStart(partition)),
        ChildSpec(NOTIFIER, ProcessStart("bitnexus.actors.notifier.actor:Notifier")),
        ChildSpec(FRONT, ProcessStart("tests.integration.small_tree:NotingFront")),
    ]
    launcher = Launcher("bitnexus", SupervisorFlags(intensity=50, period_s=5), children)
    launcher.start()
    try:
        launcher.loop.run_until_complete(scenario(Tree(launcher)))
    finally:
        launcher.loop.run_until_complete(launcher.stop(10))

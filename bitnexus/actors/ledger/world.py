"""The opening of the world accounts, which the ledger asks of itself before it takes commands."""

from __future__ import annotations

from collections.abc import Sequence

from bitnexus import errors
from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.ledger.book import InvariantBroken
from bitnexus.actors.ledger.commands import Item
from bitnexus.actors.messages import OpenAccount
from bitnexus.actors.runtime.message import Message


class WorldAccount:
    """Waits for the opening of a world account."""

    expired = False

    def __init__(self, asset: str) -> None:
        self.asset = asset
        self.is_open = False

    def reply(self, message: Message, /) -> None:  # noqa: ARG002 - any reply will do
        """It is open."""
        self.is_open = True

    def fail(self, error: errors.BitNexusError, /) -> None:
        """It is not: to be asked for again while the database is away; anything else must not be."""
        if not isinstance(error, errors.DatabaseUnavailable):
            raise InvariantBroken(f"the world account of {self.asset}: {error.detail}")


def openings(accounts: Sequence[WorldAccount]) -> list[Item]:
    """The commands that open them."""
    return [Item(OpenAccount(world_account_id(each.asset), "", each.asset), each) for each in accounts]

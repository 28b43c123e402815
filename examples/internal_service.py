"""An internal service that pays money in: a client of the node itself, without HTTP.

    bitnexus user create-service --email wallet@example.com
    export BITNEXUS_TOKEN=$(bitnexus user token --email wallet@example.com --lifetime 30d)
    python examples/internal_service.py ACCOUNT_ID 1250

The node is found by BITNEXUS_DATA_DIR (./var) on its own host, else by BITNEXUS_NODE=host:port and BITNEXUS_COOKIE.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import uuid

import bitnexus
from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.messages import GetHead, Head
from bitnexus.errors import BitNexusError

ASSET = "USD/2"


async def pay_in(account_id: str, amount: int) -> None:
    """Move `amount` cents from the world account to the account."""
    async with bitnexus.connect() as node:
        # Keep the id before you send it: the same one again, after a crash of yours, moves nothing twice.
        transfer_id = str(uuid.uuid4())
        result = await node.transfer(
            debit=world_account_id(ASSET),
            credit=account_id,
            amount=amount,
            asset=ASSET,
            transfer_id=transfer_id,
            description="top-up",
            timeout_s=30,
        )
        if result.transfer is None:
            sys.exit(f"refused: {result.refusal}")
        print(f"paid {amount / 100:.2f} USD, balance {result.transfer.credit_balance / 100:.2f} USD")
        head = await node.call("ledger", GetHead(), retry=True)
        assert isinstance(head, Head)
        print(f"the log has {head.tree_size} events, root {head.tree_root[:16]}…")


def main() -> None:
    """Parse the arguments and pay."""
    parser = argparse.ArgumentParser(description="Pay money into an account.")
    parser.add_argument("account_id")
    parser.add_argument("amount", type=int, help="in cents")
    options = parser.parse_args()
    try:
        asyncio.run(pay_in(options.account_id, options.amount))
    except BitNexusError as error:
        sys.exit(f"error: {error.detail}")


if __name__ == "__main__":
    main()

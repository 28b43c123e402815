"""A program that pays over HTTP: it logs in, pays once however often it is started, and shows the history.

    python examples/pay_over_http.py ann@example.com BEN_ACCOUNT_ID 2500 --key lunch-1

The password comes from BITNEXUS_PASSWORD, the service's address from BITNEXUS_URL (http://127.0.0.1:4000).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from bitnexus.http.client import Client, ClientError, Refused

SHOWN = 5


async def pay(email: str, payee: str, amount: int, key: str) -> None:
    """Move `amount` cents from the user's first account to the payee's."""
    async with Client(os.environ.get("BITNEXUS_URL", "http://127.0.0.1:4000")) as api:
        await api.auth.login(email, os.environ["BITNEXUS_PASSWORD"])
        account = await anext(aiter(api.accounts.list()))
        try:
            # The key names this payment: a second start of the program, or a lost answer, moves nothing twice.
            paid = await api.transactions.post(debit=account.id, credit=payee, amount=amount, key=key)
        except Refused as error:
            sys.exit(f"refused: {error.problem.detail}")
        print(f"{'paid before' if paid.replayed else 'paid'}: {paid.amount / 100:.2f} {paid.asset}, id {paid.id}")
        shown = 0
        async for entry in api.accounts.history(account.id, limit=SHOWN):
            print(f"{entry.inserted_at}  {entry.direction:6}  {entry.amount / 100:10.2f}  {entry.balance / 100:10.2f}")
            shown += 1
            if shown == SHOWN:
                break
        await api.auth.logout()


def main() -> None:
    """Parse the arguments and pay."""
    parser = argparse.ArgumentParser(description="Pay over HTTP.")
    parser.add_argument("email")
    parser.add_argument("payee", help="the account that gets the money")
    parser.add_argument("amount", type=int, help="in cents")
    parser.add_argument("--key", required=True, help="names this payment")
    options = parser.parse_args()
    try:
        asyncio.run(pay(options.email, options.payee, options.amount, options.key))
    except ClientError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

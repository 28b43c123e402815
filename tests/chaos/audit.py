"""Does the database hold exactly what it must? Every check of a ledger that needs nothing but its tables.

The log is recomputed from the stored fields: each leaf, the tree's root after each block, each block's hash and its
link to the one before. An edited, missing, added or reordered row cannot pass.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

import asyncpg

from bitnexus.actors.ledger import log
from tests.chaos.clients import Acknowledged

_EVENTS = """
SELECT seq, block, id, NULL AS debit_account_id, NULL AS credit_account_id, owner_id AS person,
    NULL AS amount, code, flags, asset, '' AS description, '' AS metadata, NULL AS refusal, salt, time_us,
    0 AS debit_balance, 0 AS credit_balance
FROM ledger_accounts
UNION ALL
SELECT seq, block, id, debit_account_id, credit_account_id, user_id,
    amount, code, 0, asset, description, metadata, refusal, salt, time_us,
    debit_balance, credit_balance
FROM ledger_transfers
ORDER BY seq
"""


async def audit(url: str, acknowledged: Iterable[Acknowledged]) -> list[str]:
    """What is wrong with the ledger in this database; nothing, if every acknowledged transfer is in it, once."""
    connection = await asyncpg.connect(url)
    try:
        events = await connection.fetch(_EVENTS)
        blocks = await connection.fetch("SELECT * FROM ledger_blocks ORDER BY height")
        accounts = await connection.fetch("SELECT id, debits_posted, credits_posted FROM ledger_accounts")
    finally:
        await connection.close()
    return [*_log(events, blocks), *_balances(events, accounts), *_promises(events, list(acknowledged))][:20]


def _log(events: list[asyncpg.Record], blocks: list[asyncpg.Record]) -> Iterable[str]:
    if [event["seq"] for event in events] != list(range(len(events))):
        yield f"the sequence numbers of {len(events)} events have gaps or repeats"
        return
    head = log.Head()
    by_block = {height: list(group) for height, group in itertools.groupby(events, key=lambda event: event["block"])}
    if set(by_block) != {block["height"] for block in blocks}:
        yield "the events' blocks are not the blocks"
        return
    for block in blocks:
        leaves = [log.leaf_hash(_leaf(event)) for event in by_block[block["height"]]]
        if block["prev_hash"] != head.hash:
            yield f"block {block['height']} does not link to the one before"
        head = head.extend(leaves, block["time_us"])
        found = (block["height"], block["hash"], block["tree_size"], block["tree_root"])
        if found != (head.height, head.hash, head.tree.size, head.root):
            yield f"block {block['height']} is not what its events make it"
            return


def _leaf(event: asyncpg.Record) -> bytes:
    person = log.NOBODY if event["person"] is None else event["person"].bytes
    private = log.private_hash(event["salt"], person, event["description"], event["metadata"])
    if event["debit_account_id"] is None:
        return log.account_leaf(
            seq=event["seq"],
            block=event["block"],
            time_us=event["time_us"],
            account=event["id"].bytes,
            flags=event["flags"],
            code=event["code"],
            private=private,
            asset=event["asset"],
        )
    return log.transfer_leaf(
        event["seq"],
        event["block"],
        event["time_us"],
        event["id"].bytes,
        event["debit_account_id"].bytes,
        event["credit_account_id"].bytes,
        event["amount"],
        event["code"],
        event["debit_balance"],
        event["credit_balance"],
        private,
        log.text(event["asset"]),
        event["refusal"],
    )


def _balances(events: list[asyncpg.Record], accounts: list[asyncpg.Record]) -> Iterable[str]:
    """Replay every posted transfer; the balances stored beside it and the accounts' totals must come out."""
    totals: dict[UUID, list[int]] = defaultdict(lambda: [0, 0])
    for event in events:
        if event["debit_account_id"] is None or event["refusal"] is not None:
            continue
        debit, credit = totals[event["debit_account_id"]], totals[event["credit_account_id"]]
        debit[0] += event["amount"]
        credit[1] += event["amount"]
        if (event["debit_balance"], event["credit_balance"]) != (debit[1] - debit[0], credit[1] - credit[0]):
            yield f"the balances after event {event['seq']} are wrong"
            return
    for account in accounts:
        if [account["debits_posted"], account["credits_posted"]] != totals[account["id"]]:
            yield f"the totals of account {account['id']} are not those of its transfers"
    if sum(account["credits_posted"] - account["debits_posted"] for account in accounts) != 0:
        yield "the sum of all balances is not 0"


def _promises(events: list[asyncpg.Record], acknowledged: list[Acknowledged]) -> Iterable[str]:
    """Ids are unique in the table: an acknowledged one that is there as it was told is there exactly once."""
    posted = {str(event["id"]): event for event in events if event["amount"] is not None and event["refusal"] is None}
    if len({done.transfer_id for done in acknowledged}) != len(acknowledged):
        yield "an id was acknowledged for two transfers"
    for done in acknowledged:
        event = posted.get(done.transfer_id)
        if event is None:
            yield f"lost: {done}"
        elif done != Acknowledged(
            done.transfer_id,
            str(event["debit_account_id"]),
            str(event["credit_account_id"]),
            event["amount"],
            event["seq"],
            event["block"],
        ):
            yield f"acknowledged as {done}, recorded as {dict(event)}"

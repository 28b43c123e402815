"""Whatever is altered behind the ledger's back, the verification finds it; and nothing in a ledger that is in order."""

from __future__ import annotations

import asyncio
import random
import re
from uuid import uuid4

import asyncpg
import pytest
from click.testing import CliRunner

from bitnexus.actors.ledger.accounts import expiry_id
from bitnexus.actors.ledger.audit import Wrong
from bitnexus.actors.ledger.checkpoint import Checkpoint, Verifier
from bitnexus.actors.ledger.verification import verify
from bitnexus.actors.messages import AnnotateTransfer, ChangeAccount, CreateAccount, PostTransfers, TransferRequest
from bitnexus.cli.ledger import command
from bitnexus.config import use
from bitnexus.config.settings import Settings
from tests.integration.ledger_harness import ASSET, USER, WORLD, audit, post, running

TABLES = [
    "ledger_accounts",
    "ledger_transfers",
    "ledger_account_changes",
    "ledger_annotations",
    "ledger_blocks",
    "ledger_nodes",
    "ledger_timers",
]
#: How a value of each type is made another one.
OTHER = {
    "uuid": "gen_random_uuid()",
    "text": "coalesce({0} || 'x', 'overflow')",
    "bytea": "set_byte({0}, 0, (get_byte({0}, 0) + 1) % 256)",
    "bigint": "{0} + 1",
    "integer": "{0} + 1",
    "smallint": "{0} + 1",
}


#: Rows that are added: one of those that are there, with these values.
_ID = "gen_random_uuid()"
ADDED: dict[str, list[dict[str, object]]] = {
    "ledger_accounts": [{"id": _ID, "seq": seq} for seq in (-5, 10**9)],
    "ledger_transfers": [{"id": _ID, "seq": seq} for seq in (-5, "(SELECT max(tree_size) FROM ledger_blocks)", 10**9)],
    "ledger_account_changes": [{"seq": seq} for seq in (-5, 10**9)],
    "ledger_annotations": [{"id": _ID, "seq": seq} for seq in (-5, 10**9)],
    "ledger_blocks": [{"height": "(SELECT max(height) + 1 FROM ledger_blocks)"}],
    "ledger_nodes": [{"number": number} for number in (-1, 10**6)],
    "ledger_timers": [{"transfer_id": _ID}],
}


def names(wrong: str, table: str, row: asyncpg.Record) -> bool:
    """Whether it says where the altered row is: the first place that cannot be as it is stored."""
    if table == "ledger_nodes":
        return wrong.startswith("node")
    if table == "ledger_timers":
        return wrong.startswith("the timer of")
    said = re.match(r"(event|block) (\d+)\b", wrong)
    if said is None:  # totals are of no event
        return table == "ledger_accounts" and wrong.startswith(f"account {row['id']}:")
    place = int(said[2])
    if table == "ledger_blocks":  # one of its events, or the one after them, is where it does not fit
        return place <= row["tree_size"] if said[1] == "event" else place == row["height"]
    # The hash of a whole block is the first that tells of what can have any value.
    return bool(place == row["seq" if said[1] == "event" else "block"])


async def fill(url: str) -> Checkpoint:
    """A ledger with something of everything; its last block's tree."""
    async with running(url) as ledger:
        alice, bob = await ledger.funded(2, 10_000)
        empty, limited = await ledger.open(), str(uuid4())
        await ledger.ask(CreateAccount(limited, USER, ASSET, 0, 1, 50))
        await ledger.ask(post(alice, bob, 20_000))
        await ledger.ask(post(limited, bob, 20, description="Miete", metadata='{"n":1}'))
        pending = [
            TransferRequest(str(uuid4()), alice, bob, 10, ASSET, kind="pending", timeout_s=t) for t in (0, 1, 999, 0)
        ]
        await ledger.ask(PostTransfers(USER, "user", pending))
        first, expiring = pending[0].transfer_id, pending[1].transfer_id
        part = TransferRequest(str(uuid4()), alice, bob, 4, ASSET, kind="post_pending", pending_id=first)
        back = TransferRequest(str(uuid4()), bob, alice, 4, ASSET, kind="reversal", reverses_id=part.transfer_id)
        await ledger.ask(PostTransfers(USER, "user", [part, back]))
        await ledger.ask(PostTransfers(USER, "user", [TransferRequest(str(uuid4()), alice, bob, 1, ASSET)] * 2))
        many = [TransferRequest(str(uuid4()), alice, bob, 1, ASSET) for _ in range(300)]
        await ledger.ask(PostTransfers(USER, "user", many))
        annotated = post(WORLD, bob, 1)
        await ledger.ask(annotated)
        for account, action in ((empty, "freeze"), (empty, "unfreeze"), (empty, "close"), (alice, "freeze")):
            await ledger.ask(ChangeAccount(USER, "admin", account, action))
        async with asyncio.timeout(20):
            while not any(
                getattr(event, "transfer_id", "") == expiry_id(expiring)
                for block in ledger.committed
                for event in block.events
            ):
                await asyncio.sleep(0.02)
        for words in ("first", "second"):
            ids = (str(uuid4()), annotated.transfer_id, WORLD)
            await ledger.ask(AnnotateTransfer(USER, "user", *ids, words, '{"a":1}'))
        await ledger.ask(post(WORLD, bob, 5))
        head = ledger.writer.head
    await audit(url)
    return Checkpoint("x", head.tree.size, head.root)


async def finds(db: asyncpg.Connection, signed: Checkpoint, *statements: str) -> str | None:
    """What the verification finds after the statements, which are undone; None if the database refuses them."""
    transaction = db.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        for statement in statements:
            assert await db.execute(statement) not in {"UPDATE 0", "DELETE 0", "INSERT 0 0"}, statement
        with pytest.raises(Wrong) as found:
            await verify(db, signed)
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.NumericValueOutOfRangeError):
        return None
    else:
        return str(found.value)
    finally:
        await transaction.rollback()


async def test_every_alteration_is_found_and_named_and_none_where_there_is_none(fresh_database_url):
    signed = await fill(fresh_database_url)
    db = await asyncpg.connect(fresh_database_url)
    assert (await verify(db, signed)).events == signed.size
    assert (await verify(db)).root == signed.root
    chance = random.Random()
    found: list[tuple[str, str]] = []
    refused: list[tuple[str, str]] = []
    columns = await db.fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_name = ANY($1)", TABLES
    )
    assert len(columns) > 40
    for table, column, type_ in columns:
        # Elsewhere a neighbour has the place already.
        other = "{0} + 1000003" if column in {"seq", "height"} else OTHER[type_]
        rows = {row["place"]: row for row in await db.fetch(f"SELECT ctid::text AS place, * FROM {table}")}
        for tried, place in enumerate(chance.sample(list(rows), len(rows))):
            if tried >= 3 and (table, column) in found:
                break  # some rows the database itself keeps from such a change
            change = f"UPDATE {table} SET {column} = {other.format(column)} WHERE ctid = '{place}'"
            wrong = await finds(db, signed, change)
            (refused if wrong is None else found).append((table, column))
            assert wrong is None or names(wrong, table, rows[place]), (table, column, rows[place], wrong)
    assert {table for table, _ in found} == set(TABLES)
    assert set(refused) - set(found) <= {("ledger_accounts", "state")}, "no column is out of sight"
    for table in TABLES:
        places = [row[0] for row in await db.fetch(f"SELECT ctid::text FROM {table}")]
        for place in chance.sample(places, min(3, len(places))):
            assert await finds(db, signed, f"DELETE FROM {table} WHERE ctid = '{place}'")
        for added in ADDED[table]:
            values = ", ".join(f"'{column}', {value}" for column, value in added.items())
            row = f"SELECT (jsonb_populate_record(t, jsonb_build_object({values}))).* FROM {table} t LIMIT 1"
            assert await finds(db, signed, f"INSERT INTO {table} {row}"), (table, added)
    # Swapped, and the tail cut off.
    assert "event 30" in (
        await finds(
            db,
            signed,
            "UPDATE ledger_transfers SET seq = -1 WHERE seq = 30",
            "UPDATE ledger_transfers SET seq = 30 WHERE seq = 31",
            "UPDATE ledger_transfers SET seq = 31 WHERE seq = -1",
        )
        or ""
    )
    wrong = await finds(
        db,
        signed,
        "DELETE FROM ledger_transfers WHERE block = (SELECT max(height) FROM ledger_blocks)",
        "DELETE FROM ledger_blocks WHERE height = (SELECT max(height) FROM ledger_blocks)",
    )
    assert wrong is not None
    assert "was signed" in wrong
    assert (await verify(db, signed)).root == signed.root
    await db.close()


async def test_an_old_dump_that_was_restored_is_found_by_what_was_signed_since(fresh_database_url, postgres):
    before, old = await fill(fresh_database_url), f"old_{uuid4().hex}"
    db = await asyncpg.connect(fresh_database_url)
    current = await db.fetchval("SELECT current_database()")
    await db.close()
    server = await asyncpg.connect(postgres.url)
    try:
        await server.execute(f"CREATE DATABASE {old} TEMPLATE {current}")
        async with running(fresh_database_url) as ledger:
            await ledger.ask(post(WORLD, await ledger.open(), 5))
            signed = Checkpoint("x", ledger.writer.head.tree.size, ledger.writer.head.root)
        db = await asyncpg.connect(postgres.url_of(old))
        try:
            assert (await verify(db, before)).root == before.root
            with pytest.raises(Wrong, match=f"{signed.size} .*was signed"):
                await verify(db, signed)
        finally:
            await db.close()
        await audit(fresh_database_url)
    finally:
        await server.execute(f"DROP DATABASE IF EXISTS {old} WITH (FORCE)")
        await server.close()


async def test_the_command_line_verifies_a_stored_ledger_and_says_what_is_wrong(fresh_database_url, tmp_path):
    from tests.integration.test_ledger_notary import notary

    await fill(fresh_database_url)
    db = await asyncpg.connect(fresh_database_url)
    settings = Settings(database_url=fresh_database_url, data_dir=tmp_path, profile="test")
    use(settings)

    async def run(*arguments: str):
        return await asyncio.to_thread(CliRunner().invoke, command, list(arguments))

    result = await run("verify")
    assert (result.exit_code, "Everything is in order" in result.output) == (0, True), result.output
    key = (await run("key")).output
    verifier = Verifier.from_text(key)
    assert (await run("checkpoint")).exit_code == 1
    async with running(fresh_database_url) as ledger:
        from bitnexus.actors.ledger.checkpoint import Signer
        from bitnexus.config.ledger_key import ledger_key

        one = notary(db, tmp_path)
        one._signer = Signer(settings.log_origin, ledger_key(settings))
        note = await one.checkpoint(ledger.writer.head)
    assert (await run("checkpoint")).output == note
    transfer = await db.fetchval("SELECT id::text FROM ledger_transfers WHERE seq = 40")
    shown = await run("proof", transfer)
    assert shown.exit_code == 0, shown.output
    assert '"index": 40' in shown.output
    as_text = await run("proof", transfer, "--tlog-proof")
    assert as_text.output.startswith("c2sp.org/tlog-proof@v1\nextra ")
    assert as_text.output.endswith(f"\n\n{note}")
    assert verifier.verify(note).size > 300
    assert (await run("proof", str(uuid4()))).exit_code == 1
    await db.execute("UPDATE ledger_transfers SET amount = amount + 1 WHERE seq = 40")
    result = await run("verify")
    assert result.exit_code == 1
    assert "event 40" in result.output
    assert (await run("proof", transfer)).exit_code == 1
    await db.close()

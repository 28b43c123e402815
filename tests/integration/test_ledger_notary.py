"""What is signed is in the database, extends what was signed before, and outsiders' programs accept the proofs."""

from __future__ import annotations

import random
from base64 import b64decode

import asyncpg
import pytest

from bitnexus.actors.ledger.archive import consistency_proof, inclusion_proof, seq_and_leaf, tile
from bitnexus.actors.ledger.checkpoint import Signer
from bitnexus.actors.ledger.notary import FILE, Notary
from bitnexus.actors.ledger.proofs import ProofInvalid, verify_consistency, verify_inclusion
from bitnexus.actors.messages import ChangeAccount, PostTransfers, TransferRequest
from bitnexus.errors import CheckpointRefused
from bitnexus.storage.ledger_tree import events_between
from tests.integration.ledger_harness import ASSET, USER, post, running

SIGNER = Signer("bitnexus.example/ledger", bytes(32))


@pytest.fixture
async def db(fresh_database_url):
    connection = await asyncpg.connect(fresh_database_url)
    yield connection
    await connection.close()


def notary(db, directory) -> Notary:
    async def prove(old: int, new: int) -> list[bytes]:
        return await consistency_proof(db, old, new)

    return Notary(SIGNER, directory, prove)


async def fill(ledger, accounts: list[str], count: int) -> None:
    chance = random.Random(count)
    requests = []
    for _ in range(count):
        debit, credit = chance.sample(accounts, 2)
        command = post(debit, credit, chance.randint(1, 40_000))
        requests.append(TransferRequest(command.transfer_id, debit, credit, command.amount, ASSET))
    await ledger.ask(PostTransfers(USER, "user", requests))


async def test_the_last_signed_tree_is_kept_in_a_file_and_signed_again_only_if_it_grew(
    fresh_database_url, db, tmp_path
):
    async with running(fresh_database_url) as ledger:
        accounts = await ledger.funded(3)
        one = notary(db, tmp_path)
        first = await one.checkpoint(ledger.writer.head)
        assert (tmp_path / FILE).read_text("utf-8") == first
        assert await one.checkpoint(ledger.writer.head) == first
        await fill(ledger, accounts, 700)
        second = await one.checkpoint(ledger.writer.head)
        checkpoint = SIGNER.verifier.verify(second)
        assert (checkpoint.size, checkpoint.root) == (ledger.writer.head.tree.size, ledger.writer.head.root)
        await fill(ledger, accounts, 10)
        third = await notary(db, tmp_path).checkpoint(ledger.writer.head)
        assert SIGNER.verifier.verify(third).size == checkpoint.size + 10
        assert [each.name for each in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("more", [0, 5, 600])
async def test_an_older_or_another_database_is_not_signed(fresh_database_url, db, tmp_path, more):
    async with running(fresh_database_url) as ledger:
        accounts = await ledger.funded(3)
        await fill(ledger, accounts, 300)
        head = ledger.writer.head
        other = SIGNER.sign(head.tree.size, bytes(32))
        await fill(ledger, accounts, more) if more else None
        (tmp_path / FILE).write_text(other, "utf-8")
        with pytest.raises(CheckpointRefused, match=r"restore the newer one.*tell everybody"):
            await notary(db, tmp_path).checkpoint(ledger.writer.head)
        (tmp_path / FILE).write_text(SIGNER.sign(10_000, bytes(32)), "utf-8")
        with pytest.raises(CheckpointRefused, match="is shorter"):
            await notary(db, tmp_path).checkpoint(ledger.writer.head)
        (tmp_path / FILE).write_text("damaged", "utf-8")
        with pytest.raises(CheckpointRefused, match="damaged"):
            await notary(db, tmp_path).checkpoint(ledger.writer.head)
        (tmp_path / FILE).write_text(SIGNER.sign(head.tree.size, head.root), "utf-8")
        await notary(db, tmp_path).checkpoint(ledger.writer.head)


async def test_a_changed_row_makes_the_proof_that_needs_it_fail_to_verify(fresh_database_url, db, tmp_path):
    async with running(fresh_database_url) as ledger:
        accounts = await ledger.funded(3)
        await fill(ledger, accounts, 20)
        head = ledger.writer.head
        (tmp_path / FILE).write_text(SIGNER.sign(head.tree.size, head.root), "utf-8")
        await fill(ledger, accounts, 20)
        await db.execute("UPDATE ledger_transfers SET amount = amount + 1 WHERE seq = $1", head.tree.size - 1)
        with pytest.raises(CheckpointRefused, match="does not extend"):
            await notary(db, tmp_path).checkpoint(ledger.writer.head)
        await db.execute("DELETE FROM ledger_transfers WHERE seq = $1", head.tree.size - 1)
        with pytest.raises(CheckpointRefused, match="does not extend"):
            await notary(db, tmp_path).checkpoint(ledger.writer.head)


async def test_proofs_from_the_stored_rows_verify_here_and_in_a_public_program(fresh_database_url, db):
    from rekor_verifier.merkle_proof import DEFAULT_HASHER
    from rekor_verifier.merkle_proof import verify_consistency as their_consistency
    from rekor_verifier.merkle_proof import verify_inclusion as their_inclusion

    async with running(fresh_database_url) as ledger:
        accounts = await ledger.funded(5)
        await ledger.ask(ChangeAccount(USER, "admin", accounts[0], "freeze"))
        heads = []
        for count in (10, 1, 700, 255, 300):
            await fill(ledger, accounts, count)
            heads.append(ledger.writer.head)
    leaves = dict(seq_and_leaf(row) for row in await events_between(db, 0, heads[-1].tree.size))
    chance = random.Random(5)
    for head in heads:
        size, root = head.tree.size, head.root
        for index in {0, size - 1, *(chance.randrange(size) for _ in range(10))}:
            proof = await inclusion_proof(db, index, size)
            verify_inclusion(leaves[index], index, size, proof, root)
            their_inclusion(DEFAULT_HASHER, index, size, leaves[index].hex(), [p.hex() for p in proof], root.hex())
    for old in heads:
        for new in heads[heads.index(old) :]:
            sizes = old.tree.size, new.tree.size
            proof = await consistency_proof(db, *sizes)
            verify_consistency(*sizes, proof, old.root, new.root)
            their_consistency(DEFAULT_HASHER, *sizes, [p.hex() for p in proof], old.root.hex(), new.root.hex())
    assert await tile(db, 0, 1, 256) == [leaves[index] for index in range(256, 512)]
    assert len(await tile(db, 1, 0, heads[-1].tree.size // 256)) == heads[-1].tree.size // 256
    with pytest.raises(ProofInvalid):
        await tile(db, 1, 0, 200)
    assert len(b64decode(SIGNER.sign(1, heads[0].root).split("\n")[2])) == 32

"""Transfers that are given other words: in the log, once, and told to those who catch up."""

from __future__ import annotations

from uuid import uuid4

import asyncpg
import pytest

from bitnexus import errors
from bitnexus.actors.messages import AnnotateTransfer, TransferAnnotated
from bitnexus.storage import ledger as reads
from bitnexus.storage.ledger_annotations import annotations_of
from bitnexus.storage.ledger_pages import HistoryAsked, histories
from bitnexus.storage.ledger_transfer_now import transfers_now
from tests.integration.ledger_harness import USER, WORLD, audit, post, running


def words(transfer_id: str, debit: str, description: str = "", metadata: str = "", **fields) -> AnnotateTransfer:
    id_ = fields.pop("id", None) or str(uuid4())
    return AnnotateTransfer(USER, "user", id_, transfer_id, debit, description, metadata, **fields)


async def test_the_latest_words_stand_at_a_transfer_and_all_of_them_in_the_log(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        paid = post(alice, bob, 5, description="lunch")
        before = (await ledger.ask(paid)).transfer
        first = await ledger.ask(words(paid.transfer_id, alice, "dinner", '{"a":1}'))
        second = await ledger.ask(words(paid.transfer_id, alice, "supper"))
        assert isinstance(first, TransferAnnotated)
        assert (first.description, first.metadata, first.seq) == ("dinner", '{"a":1}', before.seq + 1)
        assert ledger.committed[-1].events == [second]
        connection = await asyncpg.connect(fresh_database_url)
        assert await annotations_of(connection, [paid.transfer_id, str(uuid4())]) == {paid.transfer_id: second}
        now = (await transfers_now(connection, [paid.transfer_id]))[paid.transfer_id]
        assert now.as_it_is == (before, None, second)
        for as_of_seq, said in ((before.seq, None), (first.seq, first), (second.seq, second), (None, second)):
            asked = HistoryAsked(bob, None, as_of_seq, None, 1)
            shown = (await histories(connection, [asked]))[asked]
            assert shown.transfers == [(before, None, said)]
            assert shown.as_of_seq == (second.seq if as_of_seq is None else as_of_seq)
        page = await reads.events_after(connection, before.seq - 1)
        assert page.events == [before, first, second]
        await connection.close()
    await audit(fresh_database_url)


async def test_an_annotation_is_made_once_also_by_a_ledger_that_started_since(fresh_database_url):
    id_ = str(uuid4())
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        paid = post(alice, bob)
        await ledger.ask(paid)
        command = words(paid.transfer_id, alice, "once", id=id_)
        both = [ledger.submit(command), ledger.submit(command)]
        first, again = [await caller.answer for caller in both]
        assert first == again
    async with running(fresh_database_url) as ledger:
        assert await ledger.ask(command) == first
        with pytest.raises(errors.Conflict):
            await ledger.ask(words(paid.transfer_id, alice, "twice", id=id_))
        assert ledger.committed == []
    await audit(fresh_database_url)


async def test_words_that_were_to_replace_others_do_not_replace_what_came_meanwhile(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        paid = post(alice, bob)
        own = (await ledger.ask(paid)).transfer.seq
        first = words(paid.transfer_id, alice, "first", if_seqs=[own])
        callers = [ledger.submit(first), ledger.submit(words(paid.transfer_id, alice, "second", if_seqs=[own]))]
        said = await callers[0].answer
        with pytest.raises(errors.PreconditionFailed):
            await callers[1].answer
    async with running(fresh_database_url) as ledger:
        assert await ledger.ask(first) == said, "a repeat is not conditional on what it did itself"
        for stale in ([own], []):
            with pytest.raises(errors.PreconditionFailed):
                await ledger.ask(words(paid.transfer_id, alice, "third", if_seqs=stale))
        third = await ledger.ask(words(paid.transfer_id, alice, "third", if_seqs=[own, said.seq]))
        assert third.description == "third"
    await audit(fresh_database_url)


async def test_what_was_not_carried_out_has_no_words(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        refused, paid = post(alice, bob, 1_000), post(alice, bob)
        await ledger.ask(refused)
        await ledger.ask(paid)
        for transfer_id, debit in ((refused.transfer_id, alice), (str(uuid4()), alice), (paid.transfer_id, WORLD)):
            with pytest.raises(errors.NotFound):
                await ledger.ask(words(transfer_id, debit))
    await audit(fresh_database_url)


async def test_a_transfer_and_its_words_may_be_of_one_block(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        paid = post(alice, bob)
        callers = [ledger.submit(paid), ledger.submit(words(paid.transfer_id, alice, "at once"))]
        transfer, said = [await caller.answer for caller in callers]
        assert (said.description, said.seq) == ("at once", transfer.transfer.seq + 1)
    await audit(fresh_database_url)


@pytest.mark.parametrize(
    "wrong", [{"description": "\x00"}, {"description": "x" * 1_025}, {"metadata": "\ud800"}, {"id": "x"}]
)
async def test_what_no_annotation_may_be_is_refused_before_anything_is_done(fresh_database_url, wrong):
    async with running(fresh_database_url) as ledger:
        height = ledger.writer.head.height
        with pytest.raises(errors.BadRequest):
            await ledger.ask(words(str(uuid4()), WORLD, **wrong))
        assert ledger.writer.head.height == height

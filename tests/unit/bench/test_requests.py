"""The requests that all contestants get, and where they go."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice

import pytest

from bench import requests as request_files
from bench.contestants import BitNexus
from bench.load import Source
from bench.requests import Request, get, post
from bench.servers import GivenServer, libpq_environment
from bench.workloads import WORKLOADS, Holder, Population, Shape, history_of_pairs
from bitnexus.config import Settings

HOLDERS = [Holder(f"token-{user}", [f"account-{user}-{number}" for number in range(5)]) for user in range(4)]
OWNER = {account: holder.token for holder in HOLDERS for account in holder.accounts}
POPULATION = Population(HOLDERS, [("token-0", "transfer-0"), ("token-3", "transfer-1")])


def parsed(request):
    head, _, body = (request.before + (b"KEY" if request.keyed else b"") + request.after).partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    return line, dict(field.split(": ", 1) for field in fields), json.loads(body) if body else None


def transfers_of(name):
    return [parsed(request)[2]["transaction"] for request in WORKLOADS[name].for_population(POPULATION)]


def test_requests_survive_their_file(tmp_path):
    requests = [post("/a", "token", b'{"n": 1}\n\n'), get("/b", "token"), Request(b"\x00\n3 4 5\n", b"\n", keyed=True)]
    request_files.write(tmp_path / "file", requests)
    assert request_files.read(tmp_path / "file") == requests


@pytest.mark.parametrize("name", ["transfer", "hot", "batch of 100", "batch of 1,000"])
def test_a_request_that_writes_says_its_length_and_debits_an_account_of_its_user(name):
    for request in islice(WORKLOADS[name].for_population(POPULATION), 200):
        line, headers, body = parsed(request)
        assert line.startswith("POST /api/v1/transactions")
        assert request.keyed
        assert headers["Idempotency-Key"] == "KEY"
        assert int(headers["Content-Length"]) == len(request.after.partition(b"\r\n\r\n")[2])
        items = body.get("transactions") or [body["transaction"]]
        assert len(items) == WORKLOADS[name].transfers
        for item in items:
            assert f"Bearer {OWNER[item['debit_account_id']]}" == headers["Authorization"]
            assert item["debit_account_id"] != item["credit_account_id"]
            assert item["amount"] >= 1


def test_half_of_the_transfers_touch_the_hot_account_on_either_side():
    found = transfers_of("hot")
    hot = HOLDERS[0].accounts[0]
    sides = Counter(
        "debit" if one["debit_account_id"] == hot else "credit" if one["credit_account_id"] == hot else "neither"
        for one in found
    )
    assert sides == {"debit": len(found) / 4, "credit": len(found) / 4, "neither": len(found) / 2}


def test_every_contestant_is_asked_for_the_same():
    assert transfers_of("transfer") == transfers_of("transfer")


def test_of_mixed_requests_four_fifths_read():
    found = WORKLOADS["mixed"].for_population(POPULATION)
    assert sum(request.keyed for request in found) * 5 == len(found)


def test_reads_ask_for_what_is_the_users():
    for request in WORKLOADS["show"].for_population(POPULATION):
        line, headers, _ = parsed(request)
        asked = line.split()[1].rpartition("/")[2]
        assert (headers["Authorization"].removeprefix("Bearer "), asked) in POPULATION.transfers


def test_the_first_transfers_give_every_account_as_long_a_history():
    shape = Shape(users=4, accounts_each=5, transfers=200)
    pairs = history_of_pairs(shape)
    assert len(pairs) == 200
    assert all(debit != credit for debit, credit, _ in pairs)
    assert set(Counter(debit for debit, _, _ in pairs).values()) == {10}
    assert set(Counter(credit for _, credit, _ in pairs).values()) == {10}


def test_no_key_is_sent_twice():
    source = Source([post("/a", "token", b"{}"), get("/b", "token")], "run-1")
    sent = [source.next() for _ in range(1_000)]
    written = [one for one in sent if one.startswith(b"POST")]
    assert source.keyed == len(written) == len(set(written))
    assert any(one.startswith(b"GET") for one in sent)


def test_the_service_has_the_products_default_of_partitions_and_not_the_tests(tmp_path):
    server = GivenServer("postgresql://somebody@localhost:5432/bitnexus")
    service = BitNexus(tmp_path / "bitnexus", server, Shape()).service
    assert service.environment["BITNEXUS_PARTITIONS"] == str(Settings.model_fields["partitions"].default)
    assert "BITNEXUS_FRONTS" not in service.environment


@pytest.mark.parametrize(
    ("url", "environment"),
    [
        (
            "postgresql://bitnexus@/some_db?host=%2Ftmp%2Frun&port=5432",
            {"PGHOST": "/tmp/run", "PGPORT": "5432", "PGUSER": "bitnexus", "PGDATABASE": "some_db"},
        ),
        (
            "postgresql://me:p%40ss@db.example:6432/ledger?sslmode=require",
            {
                "PGHOST": "db.example",
                "PGPORT": "6432",
                "PGUSER": "me",
                "PGPASSWORD": "p@ss",
                "PGSSLMODE": "require",
                "PGDATABASE": "ledger",
            },
        ),
    ],
)
def test_pgbench_is_told_by_variables_where_the_database_is(url, environment):
    assert libpq_environment(url) == environment


def test_databases_in_a_server_that_is_given_have_a_name_of_the_run_and_keep_the_options():
    server = GivenServer("postgresql://me@db.example/ledger?sslmode=require")
    first, second = server.url_of("peer"), GivenServer(server.url).url_of("peer")
    assert first.endswith("_peer?sslmode=require")
    assert first != second

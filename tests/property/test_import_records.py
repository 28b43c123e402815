"""The lines of a file to be imported: whatever stands in it, each is a transfer or says what is wrong with it."""

from __future__ import annotations

import csv
import io
import uuid
from operator import attrgetter

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.http.api.batches import MAX_BATCH_BYTES
from bitnexus.importer.batching import batches, body_of
from bitnexus.importer.identity import ids_of
from bitnexus.importer.records import FIELDS, MAX_LINE, BadFile, Record, Wrong, csv_records, jsonl_records

uuids = st.uuids().map(str)
texts = st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=40)
plain = st.fixed_dictionaries(
    {"debit_account_id": uuids, "credit_account_id": uuids | st.just("world"), "amount": st.integers(1, 2**53 - 1)},
    optional={
        "asset": st.sampled_from(["USD/2", "SKU:MUG-01/0"]),
        "code": st.integers(0, 2**31 - 1),
        "description": texts.filter(bool),
        "metadata": st.dictionaries(
            texts, texts | st.integers(0, 9) | st.none() | st.booleans(), min_size=1, max_size=3
        ),
        "id": uuids,
    },
)
pending = plain.map(lambda fields: {**fields, "kind": "pending", "timeout_s": 60})
resolving = st.fixed_dictionaries({"kind": st.just("post_pending"), "pending_id": uuids})
transfers = st.lists(plain | pending | resolving, max_size=20)


def as_jsonl(items):
    return b"".join(orjson.dumps(item) + b"\n" for item in items)


def as_csv(items):
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, FIELDS)
    writer.writeheader()
    for item in items:
        writer.writerow({k: orjson.dumps(v).decode() if isinstance(v, dict) else v for k, v in item.items()})
    return out.getvalue().encode()


def read(of, data, name="n"):
    return list(of(io.BytesIO(data).readline, ids_of(name)))


@given(transfers)
def test_every_transfer_of_a_json_lines_file_is_sent_as_it_stands_there(items):
    found = read(jsonl_records, as_jsonl(items))
    assert [record.wrong for record in found] == [None] * len(items)
    sent = [orjson.loads(record.encoded) for record in found]
    assert [{"id": each["id"], **item} for each, item in zip(sent, items, strict=True)] == sent
    assert [record.line for record in found] == list(range(1, len(items) + 1))


@given(transfers)
def test_a_csv_file_says_the_same_as_a_json_lines_file(items):
    found = read(csv_records, as_csv(items))
    assert [record.wrong for record in found] == [None] * len(items)
    for record, item in zip(found, items, strict=True):
        sent = orjson.loads(record.encoded)
        assert {name: sent[name] for name in item} == item
        assert sent.keys() - item.keys() <= {"id"}


@given(st.binary(max_size=300))
def test_whatever_bytes_come_each_line_is_a_transfer_or_says_what_is_wrong(data):
    for record in read(jsonl_records, data):
        assert (record.wrong is None) == bool(record.encoded)
    try:
        found = read(csv_records, data)
    except BadFile:
        return
    assert all((record.wrong is None) == bool(record.encoded) for record in found)


@given(transfers, st.binary(max_size=60))
def test_a_broken_line_spoils_no_other_json_line(items, broken):
    broken = broken.replace(b"\n", b"") + b"\n"
    found = read(jsonl_records, as_jsonl(items) + broken + as_jsonl(items))
    whole = [record.line for record in found if record.wrong is None]
    assert whole == [*range(1, len(items) + 1), *range(len(items) + 2, 2 * len(items) + 2)]


@given(transfers, st.integers(0, 20))
def test_ids_follow_from_name_and_line_so_a_repeat_or_a_grown_file_has_the_same(items, more):
    data = as_jsonl([{k: v for k, v in item.items() if k != "id"} for item in items])
    first = [record.encoded for record in read(jsonl_records, data)]
    grown = data + as_jsonl([{"kind": "void_pending", "pending_id": str(uuid.uuid4())}] * more)
    assert [record.encoded for record in read(jsonl_records, grown)][: len(first)] == first
    ids = [orjson.loads(each)["id"] for each in first]
    assert len(set(ids)) == len(ids)
    other = [orjson.loads(record.encoded)["id"] for record in read(jsonl_records, data, name="other")]
    assert not set(ids) & set(other)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60_000)), max_size=300), st.integers(1, 50))
def test_batches_have_every_record_once_in_order_and_fit_a_request(sizes, most):
    records = [
        Record(number, {}, b"x" * size) if good else Record(number, "", wrong=Wrong("bad_line", ""))
        for number, (good, size) in enumerate(sizes, 1)
    ]
    made = list(batches(records, most))
    assert [record for batch in made for record in sorted(batch.good + batch.wrong, key=attrgetter("line"))] == records
    assert all(0 < batch.lines <= most for batch in made)
    assert all(len(body_of(batch.good)) <= MAX_BATCH_BYTES for batch in made)
    assert [batch.last_line for batch in made] == [max(r.line for r in batch.good + batch.wrong) for batch in made]


GOOD = {"debit_account_id": str(uuid.UUID(int=1)), "credit_account_id": "world", "amount": 1}


@pytest.mark.parametrize(
    ("line", "code", "detail"),
    [
        (b"nope", "bad_line", "The line is not JSON: Expecting value at character 0"),
        (b"[1]", "bad_line", "The line is not a JSON object"),
        (b"\xff", "bad_line", "The line is not UTF-8"),
        (b'{"amount": 1, "amount": 2}', "bad_line", "The JSON has an object with the same key twice"),
        (b" " * (MAX_LINE + 5), "bad_line", f"The line has more than {MAX_LINE} bytes"),
        (orjson.dumps({**GOOD, "amount": 1.5}), "invalid_fields", "amount: Input should be a valid integer"),
        (orjson.dumps({**GOOD, "sum": 1}), "invalid_fields", "sum: Unknown field"),
        (orjson.dumps({"amount": 1}), "invalid_fields", "debit_account_id: Field required"),
        (orjson.dumps({"kind": "post_pending"}), "invalid_fields", "pending_id: Field required"),
        (
            orjson.dumps({**GOOD, "metadata": {"k": "x" * 5_000}}),
            "invalid_fields",
            "metadata: must not exceed 4096 bytes of JSON",
        ),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line, code, detail):
    first, second = read(jsonl_records, line + b"\n" + orjson.dumps(GOOD))
    assert first.wrong is not None
    assert (first.wrong.code, first.wrong.detail) == (code, detail)
    assert (second.line, second.wrong) == (2, None)


def test_without_a_name_a_line_needs_an_id():
    bare, own = read(jsonl_records, as_jsonl([GOOD, {**GOOD, "id": str(uuid.uuid4())}]), name="")
    assert bare.wrong is not None
    assert bare.wrong.detail == "id: required where the import has no name"
    assert own.wrong is None


@pytest.mark.parametrize("header", [b"", b"\n", b"amount,sum\n", b"amount,amount\n", b"\xff\n", b'"amount\n'])
def test_a_csv_file_without_names_of_fields_is_none(header):
    with pytest.raises(BadFile):
        read(csv_records, header)


def test_the_columns_of_a_report_are_passed_over():
    data = (
        as_csv([GOOD]).replace(b"timeout_s\r\n", b"timeout_s,refused_line,refused_code\r\n", 1)[:-2]
        + b",7,overflow\r\n"
    )
    (record,) = read(csv_records, data)
    assert record.wrong is None
    assert orjson.loads(record.encoded).keys() == GOOD.keys() | {"id"}


def test_a_csv_record_over_several_lines_is_one_and_known_by_its_first():
    data = as_csv([{**GOOD, "description": "one\ntwo"}, GOOD])
    first, second = read(csv_records, data)
    assert (first.line, second.line) == (2, 4)
    assert orjson.loads(first.encoded)["description"] == "one\ntwo"


def test_a_csv_line_with_too_few_fields_is_refused_and_the_next_is_read():
    data = as_csv([GOOD]) + b"1,2\r\n" + as_csv([GOOD]).split(b"\r\n")[1]
    wrong = [record.wrong for record in read(csv_records, data)]
    assert [each and each.detail for each in wrong] == [None, "The line has 2 fields, the first one names 12", None]

from __future__ import annotations

import contextlib
import json
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict
from pydantic import Field, TypeAdapter

from bitnexus.errors import BadRequest, InvalidFields
from bitnexus.http.validation import JsonObject, Model, QueryModel, Text, UuidText, parse_json, validate, validate_query


class Item(Model):
    id: UuidText | None = None
    name: Text = ""
    amount: Annotated[int, Field(ge=1, le=100)] = 1
    metadata: JsonObject | None = None


class Body(Model):
    item: Item


class Query(QueryModel):
    limit: Annotated[int, Field(ge=1, le=10)] = 5


BODY, QUERY = TypeAdapter(Body), TypeAdapter(Query)


def fields(value):
    with pytest.raises(InvalidFields) as caught:
        validate(BODY, value)
    return {violation.pointer: violation.message for violation in caught.value.violations}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_json_is_read(value):
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}{}",
        b"{'a': 1}",
        b"[1,]",
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b'{"a": 1, "a": 2}',
        b'{"x": {"a": 1, "\\u0061": 2}}',
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"1" * 5_000,
        b"\x00",
    ],
)
def test_what_is_not_strict_json_is_refused(body):
    with pytest.raises(BadRequest):
        parse_json(body)


plain = st.none() | st.booleans() | st.integers() | st.text(':"ab\\', max_size=4)
pairs = st.lists(st.tuples(st.sampled_from("abcd:"), plain), max_size=4)


@given(pairs, pairs)
def test_a_key_that_comes_twice_is_refused_wherever_it_is(outer, inner):
    def text(members):
        return "{" + ", ".join(f"{json.dumps(key)} : {value}" for key, value in members) + "}"

    def written(members):
        return [(key, json.dumps(value)) for key, value in members]

    body = text([*written(outer), ("inner", text(written(inner)))]).encode()
    if any(len(dict(members)) < len(members) for members in (outer, inner)):
        with pytest.raises(BadRequest):
            parse_json(body)
    else:
        assert parse_json(body) == {**dict(outer), "inner": dict(inner)}


@given(st.binary(max_size=50))
def test_any_bytes_are_read_or_refused(body):
    with contextlib.suppress(BadRequest):
        parse_json(body)


def test_unknown_fields_are_named():
    assert list(fields({"item": {"role": "admin"}})) == ["#/item/role"]


def test_every_broken_rule_is_named_with_its_pointer():
    found = fields({"item": {"id": "x", "name": 5, "amount": 0}})
    assert list(found) == ["#/item/id", "#/item/name", "#/item/amount"]


@pytest.mark.parametrize("amount", [0, 101, 1.0, 1.5, "1", True, None, [], 10**30])
def test_nothing_is_converted_to_a_number(amount):
    assert list(fields({"item": {"amount": amount}})) == ["#/item/amount"]


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "x\udfff"])
def test_null_bytes_and_surrogates_are_refused_in_text(text):
    assert list(fields({"item": {"name": text}})) == ["#/item/name"]
    assert list(fields({"item": {"metadata": {"k": [text]}}})) == ["#/item/metadata"]
    assert list(fields({"item": {"metadata": {text: 1}}})) == ["#/item/metadata"]


@pytest.mark.parametrize("number", [2**53, -(2**53), 10**400, float("inf")])
def test_numbers_that_clients_would_change_are_refused_in_metadata(number):
    assert list(fields({"item": {"metadata": {"k": number}}})) == ["#/item/metadata"]


def test_deep_metadata_is_refused():
    deep: object = 1
    for _ in range(8):
        deep = {"k": deep}
    validate(BODY, {"item": {"metadata": deep}})
    assert list(fields({"item": {"metadata": {"k": deep}}})) == ["#/item/metadata"]


def test_uuids_are_lowered_and_nothing_is_around_them():
    upper = "0F8FAD5B-D9CB-469F-A165-70867728950E"
    assert validate(BODY, {"item": {"id": upper}}).item.id == upper.lower()
    for wrong in (upper + "\n", " " + upper, "{" + upper + "}", upper.replace("-", ""), "urn:uuid:" + upper):
        assert fields({"item": {"id": wrong}})


@pytest.mark.parametrize("value", [None, [], 5, "item", {}, {"item": None}, {"item": []}, {"item": {}, "x": 1}])
def test_the_wrapper_is_required(value):
    assert fields(value)


def test_names_of_unknown_fields_are_shortened_and_mended():
    (pointer,) = fields({"item": {"\ud800/~" + "x" * 200: 1}})
    assert len(pointer) < 80
    pointer.encode()


def test_the_number_of_violations_is_bounded():
    assert len(fields({f"k{i}": i for i in range(100)})) == 20


def test_query_strings_are_read():
    assert validate_query(QUERY, {"limit": "7"}).limit == 7


@pytest.mark.parametrize(
    "query", [[("limit", "0")], [("limit", "x")], [("page", "1")], [("limit", "1"), ("limit", "2")]]
)
def test_wrong_query_strings_are_refused(query):
    with pytest.raises(InvalidFields) as caught:
        validate_query(QUERY, MultiDict(query))
    assert caught.value.violations[0].pointer.startswith("#/query")


def test_messages_do_not_show_what_is_inside():
    messages = fields({"item": {"id": "x", "unknown": 1}})
    assert messages == {"#/item/id": "Does not have the required form", "#/item/unknown": "Unknown field"}
    assert fields([]) == {"#": "Must be an object"}

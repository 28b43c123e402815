from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.errors import InvalidFields
from bitnexus.http.idempotency import idempotency_key, transfer_id, transfer_ids

ANN, BEN = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        ("  abc ", "abc"),
        ("a b", "a b"),
        (r'"a\"b\\c"', r'a"b\c'),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
    ],
)
def test_a_key_is_read_bare_or_quoted(header, key):
    assert idempotency_key(header) == key


@pytest.mark.parametrize(
    "header", ["", " ", '""', '"', '"a', '"a"b"', r'"a\b"', "x" * 256, "é", "a\x00b", "a\tb", '" a"']
)
def test_other_keys_are_refused(header):
    with pytest.raises(InvalidFields) as caught:
        idempotency_key(header)
    assert caught.value.violations[0].field == "Idempotency-Key"


def test_a_key_means_the_same_transfer_each_time_and_another_for_another_user():
    assert transfer_id(ANN, "k") == transfer_id(ANN, "k")
    assert len({transfer_id(ANN, "k"), transfer_id(ANN, "l"), transfer_id(BEN, "k")}) == 3


@given(st.uuids(), st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255))
def test_the_transfers_id_is_the_uuid5_of_user_and_key(user, key):
    assert transfer_id(str(user), key) == str(uuid.uuid5(user, key))


@given(st.uuids(), st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255))
def test_the_ids_of_a_batch_are_made_as_the_standard_library_would_and_are_no_single_transfers(user_id, key):
    id_of = transfer_ids(str(user_id), key)
    assert [id_of(at) for at in range(3)] == [str(uuid.uuid5(user_id, f"{key}\x00{at}")) for at in range(3)]

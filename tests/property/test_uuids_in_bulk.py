"""What is done to many ids at once is what would be done to each."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from bitnexus.actors.ledger.accounts import all_uuid_bytes, are_canonical_uuids, canonical_uuid, uuid_bytes

UUIDS = st.uuids().map(str)
#: A few characters are another character away from a UUID.
NEARLY = st.tuples(
    UUIDS, st.integers(0, 36), st.sampled_from(["", ",", "-", "g", "A", "é", "\ud800", "x", " ", "\0"])
).map(lambda drawn: drawn[0][: drawn[1]] + drawn[2] + drawn[0][drawn[1] + 1 :])
ANY = st.one_of(UUIDS, NEARLY, st.sampled_from(["", ",", str(UUID(int=0)) + "," + str(UUID(int=1))]), st.text())


@given(st.lists(ANY, max_size=6))
def test_they_are_all_canonical_if_each_is(values):
    assert are_canonical_uuids(values) == all(map(canonical_uuid, values))


@given(st.lists(UUIDS, min_size=1, max_size=20))
def test_well_formed_ones_are_canonical_together(values):
    assert are_canonical_uuids(values)
    assert all_uuid_bytes(values) == [uuid_bytes(value) for value in values]

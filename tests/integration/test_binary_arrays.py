"""The arrays that are made here are, to PostgreSQL, those that asyncpg would have made."""

from __future__ import annotations

import random
from uuid import UUID, uuid4

import asyncpg
import pytest

from bitnexus.storage import binary_arrays
from bitnexus.storage.binary_arrays import bigint_array, uuid_array

BIGINTS = [[], [0], [-1, 1, 2**63 - 1, -(2**63)], list(range(-300, 300))]
UUIDS = [[], [str(uuid4())], [str(uuid4()), "", str(UUID(int=0)), ""], [""], [str(uuid4()) for _ in range(1_000)]]


@pytest.fixture
async def connection(empty_database_url):
    connection = await asyncpg.connect(empty_database_url)
    binary_arrays.use(connection)
    yield connection
    await connection.close()


@pytest.mark.parametrize("values", BIGINTS, ids=len)
async def test_bigints(connection, values):
    rows = await connection.fetch("SELECT unnest($1::bigint[])", bigint_array(values))
    assert [row[0] for row in rows] == values


@pytest.mark.parametrize("values", UUIDS, ids=len)
async def test_uuids_of_which_nobody_s_is_null(connection, values):
    rows = await connection.fetch("SELECT unnest($1::uuid[])", uuid_array(values, nullable=True))
    assert [row[0] for row in rows] == [UUID(value) if value else None for value in values]


async def test_elements_are_found_by_subscripts(connection):
    values = [random.randrange(-(2**63), 2**63) for _ in range(100)]
    query = "SELECT ($1::bigint[])[n] FROM generate_series(1, 101) AS n"
    assert [row[0] for row in await connection.fetch(query, bigint_array(values))] == [*values, None]


def test_what_is_no_bigint_is_refused():
    with pytest.raises(OverflowError):
        bigint_array([2**63])


def test_what_is_no_uuid_is_refused():
    with pytest.raises(ValueError, match="non-hexadecimal"):
        uuid_array(["not one"])


def test_nobody_s_is_refused_where_somebody_must_be():
    with pytest.raises(ValueError, match="empty"):
        uuid_array([str(uuid4()), ""])

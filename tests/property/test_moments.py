"""An event's number or a time, as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.actors.ledger.moments import Moment, moment
from bitnexus.actors.representation import timestamp

TIMES_US = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)


@given(st.integers(0, 2**63 - 1))
def test_digits_are_the_number_of_an_event(seq):
    assert moment(str(seq)) == Moment(seq)


@given(TIMES_US)
def test_a_time_that_an_answer_shows_is_read_back_to_the_microsecond(time_us):
    shown = timestamp(time_us)
    if len(shown) == len("1970-01-01T00:00:00.000000Z"):  # the year has four digits
        assert moment(shown) == Moment(None, time_us)


@given(
    st.datetimes().filter(lambda naive: 1 < naive.year < 9999),
    st.integers(-23 * 60, 23 * 60),
    st.sampled_from("Tt "),
)
def test_an_offset_moves_the_time_and_not_the_moment(naive, minutes, letter):
    there = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = there.isoformat(sep=letter, timespec="microseconds")
    expected = (there - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert moment(text) == Moment(None, expected)


@given(st.text("0123456789", min_size=1, max_size=9))
def test_a_fraction_is_cut_to_microseconds(digits):
    assert moment(f"1970-01-01T00:00:01.{digits}z").time_us == 1_000_000 + int(digits[:6].ljust(6, "0"))


@pytest.mark.parametrize(
    "text",
    [
        "", "-1", "+1", "1.0", "1e3", "\u00b2", "\u0663", str(2**63), "9" * 30, "now", "2025-01-31",
        "2025-01-31T10:00Z", "2025-01-31T10:00:00", "2025-02-30T10:00:00Z", "2025-01-31T24:00:01Z",
        "2025-01-31T10:00:60Z",
        "2025-01-31T10:00:00.Z", "2025-01-31T10:00:00+2", "2025-01-31T10:00:00+24:00", "0000-01-01T00:00:00Z",
        "2025-01-31T10:00:00Z\n", "\uff11", "2025-01-31T10:00:00.0000000000Z",
    ],
)  # fmt: skip
def test_whatever_else_is_refused(text):
    with pytest.raises(ValueError, match=r"must be|does? not|exist"):
        moment(text)


@given(st.text(max_size=40))
def test_no_text_breaks_it(text):
    try:
        found = moment(text)
    except ValueError:
        return
    assert found.seq is None or 0 <= found.seq < 2**63

from __future__ import annotations

import pytest

from bitnexus.http.correlation import RequestIds

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def ids():
    return RequestIds("p")


def test_a_sane_request_id_is_kept(ids):
    assert ids.of({"X-Request-Id": "abc-1.2:3_4"}) == ("abc-1.2:3_4", "abc-1.2:3_4")


@pytest.mark.parametrize("given", ["", " ", "a b", "a\nb", "é", "x" * 129, '"quoted"', "-flag", "a\x00", "a\n"])
def test_any_other_request_id_is_replaced(ids, given):
    assert ids.of({"X-Request-Id": given}) == ("p-1", "p-1")


def test_the_trace_id_stands_in_for_a_missing_request_id(ids):
    assert ids.of({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}) == (TRACE, TRACE)


def test_with_both_the_request_keeps_its_id_and_takes_the_traces_along(ids):
    given = {"X-Request-Id": "abc", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    assert ids.of(given) == ("abc", f"abc/{TRACE}")


def test_an_invalid_traceparent_beside_a_request_id_is_nothing(ids):
    assert ids.of({"X-Request-Id": "abc", "traceparent": "00-what-ever-01"}) == ("abc", "abc")


def test_a_later_version_of_traceparent_may_have_more_fields(ids):
    assert ids.of({"traceparent": f"01-{TRACE}-00f067aa0ba902b7-01-more"}) == (TRACE, TRACE)


@pytest.mark.parametrize(
    "given",
    [
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7",
        "garbage",
    ],
)
def test_an_invalid_traceparent_is_not_used(ids, given):
    assert ids.of({"traceparent": given}) == ("p-1", "p-1")


def test_new_ids_differ():
    ids = RequestIds()
    assert len({ids.of({})[0] for _ in range(1000)} | {RequestIds().of({})[0]}) == 1001

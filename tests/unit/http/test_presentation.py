from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.http.presentation import PAGE_HEADERS, accepts_gzip, protect_page


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=0.1", True),
        ("br", False),
        ("identity", False),
        ("gzipx", False),
    ],
)
def test_gzip_is_taken_where_it_is_accepted(header, accepted):
    assert accepts_gzip(header) is accepted


@given(st.text())
def test_any_header_is_read_without_an_error(header):
    accepts_gzip(header)


def test_a_page_is_protected_and_keeps_a_policy_of_its_own():
    page = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": "default-src 'self'"}
    protect_page(page)
    assert page["Content-Security-Policy"] == "default-src 'self'"
    assert set(PAGE_HEADERS) < set(page)
    other = {"Content-Type": "application/json"}
    protect_page(other)
    assert other == {"Content-Type": "application/json"}

from __future__ import annotations

import pytest

from bitnexus.http.channels.origins import allowed


def test_without_patterns_a_page_of_the_same_host_and_port_may_connect():
    assert allowed("http://localhost:4000", "localhost:4000")
    assert allowed("https://Example.com", "example.com")
    assert not allowed("http://localhost:4001", "localhost:4000")
    assert not allowed("http://evil.com", "example.com")


@pytest.mark.parametrize(
    ("origin", "pattern", "answer"),
    [
        ("https://app.example.com", "//app.example.com", True),
        ("http://app.example.com:8080", "//app.example.com", True),
        ("https://app.example.com.evil.com", "//app.example.com", False),
        ("https://app.example.com:8443", "https://app.example.com:8443", True),
        ("https://app.example.com", "https://app.example.com:443", True),
        ("http://app.example.com:8443", "https://app.example.com:8443", False),
        ("https://app.example.com", "https://app.example.com:8443", False),
        ("https://a.example.com", "//*.example.com", True),
        ("https://a.b.example.com", "//*.example.com", True),
        ("https://example.com", "//*.example.com", False),
        ("https://evilexample.com", "//*.example.com", False),
    ],
)
def test_patterns(origin, pattern, answer):
    assert allowed(origin, "localhost", [pattern]) is answer


@pytest.mark.parametrize("origin", ["null", "", "example.com", "http://", "http://[", "http://a:x"])
def test_what_is_no_origin_is_refused(origin):
    assert not allowed(origin, origin)
    assert not allowed(origin, "example.com", ["//example.com"])

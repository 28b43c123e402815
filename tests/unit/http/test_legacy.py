from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from bitnexus.config.legacy_routes import parse
from bitnexus.errors import BadRequest
from bitnexus.http.legacy.headers import Hop, back, onward
from bitnexus.http.legacy.metrics import MOST_NAMED, LegacyMetrics
from bitnexus.http.legacy.target import check_query, segments_of, template_of

ORIGIN = "http://10.0.0.9:4001"


def headers(*items):
    return CIMultiDictProxy(CIMultiDict(items))


def hop(*, is_trusted=False):
    return Hop(peer="192.0.2.7", is_trusted=is_trusted, scheme="http", request_id="r-1")


def matching(text, method, path):
    (route,) = parse(text)
    segments = segments_of(path)
    assert segments is not None
    return route.matches(method, segments)


@pytest.mark.parametrize(
    ("route", "method", "path", "matches"),
    [
        ("/a/b", "GET", "/a/b", True),
        ("/a/b", "DELETE", "/a/b/", True),
        ("/a/b", "GET", "/a/b/c", False),
        ("/a/b", "GET", "/a", False),
        ("GET /a/{id}", "GET", "/a/7", True),
        ("GET /a/{id}", "HEAD", "/a/7", True),
        ("GET /a/{id}", "POST", "/a/7", False),
        ("GET /a/{id}", "GET", "/a", False),
        ("/a/{id}/c", "GET", "/a/7/d", False),
        ("/a/*", "GET", "/a/7/d", True),
        ("/a/*", "GET", "/a", True),
        ("/*", "GET", "/x", True),
        ("/api/v1/*", "POST", "/api/v1/transactions", True),
        ("/api/v1/*", "GET", "/health", False),
        ("/", "GET", "/", True),
        ("/", "GET", "/x", False),
        ("/%61", "GET", "/a", None),
        ("/a", "GET", "/%61", True),
    ],
)
def test_a_listed_route_matches_its_method_and_its_segments(route, method, path, matches):
    if matches is None:
        with pytest.raises(ValueError, match="must be routes"):
            parse(route)
    else:
        assert matching(route, method, path) is matches


@pytest.mark.parametrize(
    "text", ["a", "GET", "FETCH /a", "get /a", "/a//b", "/a/../b", "/a/*/b", "/a b", "/a?x=1", "http://h/a", "/{a}b"]
)
def test_what_is_no_route_is_refused_and_not_repeated(text):
    with pytest.raises(ValueError, match="must") as caught:
        parse(f"/good, {text}")
    assert "http://h/a" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    ["", "a", "//a", "/a//b", "/./a", "/a/..", "/%2e/a", "/a/%2E%2e", "/a%2fb", "/a%5Cb", "/a%00", "/a%0a", "/a b",
     "/%", "/%zz", "/a\\b", "/a#b", "/a?b", "/é", "/" + "a" * 9000],
)  # fmt: skip
def test_a_path_that_could_be_read_in_two_ways_has_no_segments(path):
    assert segments_of(path) is None


@given(st.text(max_size=40))
def test_segments_never_lead_out_of_their_place(text):
    segments = segments_of("/" + text)
    if segments is not None:
        assert not {".", "..", ""} & set(segments)
        assert not any("/" in segment or "\\" in segment or "\x00" in segment for segment in segments)


@pytest.mark.parametrize("query", ["a b", "a\r\nb", "a#b", "é", "x" * 9000])
def test_a_query_that_no_request_line_may_have_is_refused(query):
    with pytest.raises(BadRequest):
        check_query(query)
    check_query("a=%20&b[]=1|2&c={x}")


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/api/v1/orders/17", "/api/v1/orders/{id}"),
        ("/api/v1/orders/0b2c7b0e-0000-4000-8000-0000000000aa/lines", "/api/v1/orders/{id}/lines"),
        ("/users/ann@example.com", "/users/{id}"),
        ("/files/AbCdEfGh1234567890xyz", "/files/{id}"),
        ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/*"),
    ],
)
def test_paths_of_one_route_have_one_name(path, template):
    segments = segments_of(path)
    assert segments is not None
    assert template_of(segments) == template


def test_headers_of_one_connection_go_no_further():
    given_ = headers(
        ("Connection", "close, X-Mine"), ("X-Mine", "1"), ("Upgrade", "h2c"), ("TE", "trailers"), ("Trailer", "X"),
        ("Transfer-Encoding", "chunked"), ("Proxy-Authorization", "x"), ("Keep-Alive", "9"), ("Host", "money.example"),
        ("Expect", "100-continue"), ("Accept", "text/csv"), ("Cookie", "a=1"),
    )  # fmt: skip
    passed = onward(given_, hop())
    assert dict(passed) == {
        "Accept": "text/csv",
        "Cookie": "a=1",
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "money.example",
        "X-Request-Id": "r-1",
        "Via": "1.1 bitnexus",
    }


def test_what_a_stranger_says_of_others_is_not_passed_on_and_what_a_proxy_of_ours_says_is():
    said = headers(
        ("X-Forwarded-For", "203.0.113.5"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "pay.example"),
        ("Forwarded", "for=203.0.113.5"), ("Host", "inner"), ("Via", "1.1 edge"), ("X-Request-Id", "theirs"),
    )  # fmt: skip
    stranger, proxy = onward(said, hop()), onward(said, hop(is_trusted=True))
    names = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host")
    assert [stranger[name] for name in names] == ["192.0.2.7", "http", "inner"]
    assert [proxy[name] for name in names] == ["203.0.113.5, 192.0.2.7", "https", "pay.example"]
    for passed in (stranger, proxy):
        assert "Forwarded" not in passed
        assert passed["Via"] == "1.1 edge, 1.1 bitnexus"
        assert passed.getall("X-Request-Id") == ["r-1"]


def test_a_request_that_comes_round_again_and_a_header_that_is_no_text_are_refused():
    for wrong in (("Via", "1.0 a, 1.1 bitnexus"), ("X-A", "\udcff")):
        with pytest.raises(BadRequest):
            onward(headers(wrong), hop())


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (f"{ORIGIN}/base/x?y", "/x?y"),
        (f"{ORIGIN}/base", "/"),
        (f"{ORIGIN}", "/"),
        (f"{ORIGIN}/base//evil.example", "/evil.example"),
        (f"{ORIGIN}.evil.example/x", f"{ORIGIN}.evil.example/x"),
        ("/base/x", "/x"),
        ("/basement", "/basement"),
        ("x", "x"),
        ("https://other.example/base/x", "https://other.example/base/x"),
    ],
)
def test_addresses_of_the_old_service_become_paths_of_this_one(location, shown):
    assert back(headers(("Location", location)), ORIGIN, "/base", "r-1")["Location"] == shown


def test_answers_keep_their_own_headers_but_for_those_of_the_connection():
    given_ = headers(
        ("Connection", "X-Mine"), ("X-Mine", "1"), ("Server", "Cowboy"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"),
        ("X-File", "\udce9t\udce9"), ("X-Request-Id", "theirs"), ("Content-Encoding", "gzip"),
    )  # fmt: skip
    passed = back(given_, ORIGIN, "/", "r-1")
    assert passed.getall("Set-Cookie") == ["a=1", "b=2"]
    assert (passed["X-File"], passed["Content-Encoding"]) == ("été", "gzip")
    assert (passed["Server"], passed.getall("X-Request-Id")) == ("bitnexus", ["r-1"])
    assert "X-Mine" not in passed


def test_names_in_metrics_are_bounded_and_are_those_that_the_old_service_has():
    metrics = LegacyMetrics(["/listed"], lambda: 0, clock=lambda: 5.0)
    assert metrics.observe("GET", "/tried/out", 404) == "unmatched"
    assert metrics.observe("GET", "/tried/out", None) == "unmatched"
    assert metrics.observe("GET", "/listed", 404) == "/listed"
    for number in range(MOST_NAMED):
        assert metrics.observe("GET", f"/route-{number}", 200) == f"/route-{number}"
    assert metrics.observe("GET", "/one-more", 200) == "other"
    assert metrics.observe("GET", "/route-0", 503) == "/route-0"
    assert metrics.observe("POST", "/listed", None) == "/listed"
    families = {family.name: family for family in metrics.collect()}
    assert len(families["bitnexus_legacy_last_request_timestamp_seconds"].samples) == MOST_NAMED + 1
    counted = {tuple(s.labels.values()): s.value for s in families["bitnexus_legacy_requests"].samples}
    assert counted["GET", "unmatched", "4xx"] == counted["GET", "unmatched", "failed"] == 1
    assert counted["GET", "other", "2xx"] == counted["POST", "/listed", "failed"] == 1


def test_a_listed_route_that_nobody_uses_shows_it():
    metrics = LegacyMetrics(["/listed"], lambda: 3)
    families = {family.name: family for family in metrics.collect()}
    (sample,) = families["bitnexus_legacy_last_request_timestamp_seconds"].samples
    assert (sample.labels, sample.value) == ({"route": "/listed"}, 0.0)

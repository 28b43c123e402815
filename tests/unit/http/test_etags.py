from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.errors import BadRequest, PreconditionRequired
from bitnexus.http.etags import etag, is_known, versions_to_match

VERSIONS = st.integers(1, 10**17)


@given(VERSIONS, st.lists(st.integers(0, 10**6), max_size=2))
def test_a_write_matches_the_version_it_has_read_whatever_else_was_shown(version, rest):
    assert versions_to_match(etag(version, *rest)) == frozenset([version])
    assert versions_to_match(etag(version, *(each + 1 for each in rest))) == frozenset([version])


@given(VERSIONS, st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_read_knows_a_tag_only_as_it_is(version, one, other):
    tag = etag(version, one)
    assert is_known(tag, tag)
    assert is_known(f'"x", W/{tag}', tag)
    assert is_known("*", tag)
    assert is_known(etag(version, other), tag) == (one == other)
    assert not is_known(None, tag)


def test_any_version_may_be_meant_but_must_be_said():
    assert versions_to_match(" * ") is None
    with pytest.raises(PreconditionRequired):
        versions_to_match(None)


@pytest.mark.parametrize(
    ("header", "versions"),
    [('"1", "2-5"', {1, 2}), ('W/"1"', set()), ('"x"', set()), ('"1x"', set()), (',, "7" ,', {7}), ('"-1"', set())],
)
def test_weak_and_foreign_tags_match_nothing(header, versions):
    assert versions_to_match(header) == versions


@pytest.mark.parametrize("header", ["", "1", '"1', '"1" "2"', "*, *", '"a"b"', 'w/"1"', '"1";'])
def test_what_is_no_list_of_tags_is_refused(header):
    with pytest.raises(BadRequest):
        versions_to_match(header)
    with pytest.raises(BadRequest):
        is_known(header, '"1"')


@given(st.text(max_size=60))
def test_no_text_breaks_it(header):
    try:
        found = versions_to_match(header)
    except BadRequest:
        return
    assert found is None or all(version >= 0 for version in found)

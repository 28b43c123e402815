from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.errors import BadCursor
from bitnexus.http.cursors import Cursors
from bitnexus.http.pages import Place, cursor_of, one_page, place_of

CURSORS = Cursors("s" * 64)
POSITIONS = st.integers(0, 2**63 - 1) | st.text(st.characters(codec="ascii", categories=("L", "N")), max_size=60)


@given(POSITIONS, st.integers(-1, 2**63 - 1))
def test_a_cursor_gives_its_place_back_with_the_moment_of_its_list(position, as_of_seq):
    place = Place(position, as_of_seq)
    cursor = cursor_of(CURSORS, place, "list")
    assert place_of(CURSORS, cursor, "list") == place
    with pytest.raises(BadCursor):
        place_of(CURSORS, cursor, "another")


def test_a_list_begins_without_a_cursor_and_ends_without_one():
    assert place_of(CURSORS, None, "list") is None
    assert cursor_of(CURSORS, None, "list") is None


@pytest.mark.parametrize("position", [[], [5], [5, 6, 7]])
def test_a_signed_cursor_of_an_earlier_version_is_a_bad_one_and_no_fault(position):
    with pytest.raises(BadCursor):
        place_of(CURSORS, CURSORS.encode(position, "list"), "list")


@given(st.lists(st.integers(), unique=True, max_size=30), st.integers(1, 8))
def test_pages_joined_are_the_list_each_item_once(items, limit):
    seen: list[int] = []
    begin = 0
    while True:
        shown, following = one_page(
            items[begin : begin + limit + 1], limit, lambda last: Place(items.index(last) + 1, 0)
        )
        assert len(shown) <= limit
        seen += shown
        if following is None:
            break
        assert shown, "no page leads to an empty one"
        begin = int(following.position)
    assert seen == items

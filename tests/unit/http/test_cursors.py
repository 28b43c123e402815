from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.errors import BadCursor
from bitnexus.http.cursors import Cursors

CURSORS = Cursors("s" * 64)


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8"), max_size=20), max_size=4),
    st.text(max_size=20).filter(str.isprintable),
)
def test_a_cursor_gives_its_position_back(position, scope):
    assert CURSORS.decode(CURSORS.encode(position, scope), scope) == position


def test_a_cursor_of_another_list_is_refused():
    with pytest.raises(BadCursor):
        CURSORS.decode(CURSORS.encode([5], "transactions:a"), "transactions:b")


def test_a_cursor_made_with_another_secret_is_refused():
    with pytest.raises(BadCursor):
        CURSORS.decode(Cursors("t" * 64).encode([5], "x"), "x")


def test_a_cursor_made_with_an_old_secret_is_read_as_long_as_that_is_listed():
    old = Cursors("t" * 64).encode([5], "x")
    rotated = Cursors("s" * 64, ("u" * 64, "t" * 64))
    assert rotated.decode(old, "x") == [5]
    with pytest.raises(BadCursor):
        rotated.decode(old, "y")
    assert CURSORS.decode(rotated.encode([6], "x"), "x") == [6]


def test_no_changed_character_is_accepted():
    cursor = CURSORS.encode([123456], "x")
    for index, char in enumerate(cursor):
        for other in "AQgw-_+/= é0":
            if other != char:
                with pytest.raises(BadCursor):
                    CURSORS.decode(cursor[:index] + other + cursor[index + 1 :], "x")


@pytest.mark.parametrize("cursor", ["", "A", "====", "x" * 600, "é", "\x00", "AAAA"])
def test_garbage_is_refused(cursor):
    with pytest.raises(BadCursor):
        CURSORS.decode(cursor, "x")


@given(st.text(max_size=80))
def test_any_text_is_refused_as_a_bad_cursor(cursor):
    with pytest.raises(BadCursor):
        CURSORS.decode(cursor, "x")

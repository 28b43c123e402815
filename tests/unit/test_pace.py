from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.actors.ledger.pace import BUSY, INTERVAL_S, Pace

blocks = st.lists(st.tuples(st.integers(0, 3 * BUSY), st.floats(0, 2 * INTERVAL_S)), max_size=30)


def test_who_comes_alone_never_waits():
    pace = Pace()
    pace.began(1, 10.0)
    assert pace.wait_s(10.0) == 0.0


def test_after_a_busy_block_the_next_one_gathers_for_the_rest_of_the_interval():
    pace = Pace()
    pace.began(BUSY, 10.0)
    assert pace.wait_s(10.0) == pytest.approx(INTERVAL_S)
    assert pace.wait_s(10.0 + 2 * INTERVAL_S) == 0.0


@given(blocks)
def test_no_wait_is_longer_than_the_interval_and_busy_blocks_begin_no_closer_than_it(blocks):
    pace, now_s, last_s = Pace(), 100.0, None
    for commands, lasted_s in blocks:
        wait_s = pace.wait_s(now_s)
        assert 0.0 <= wait_s <= INTERVAL_S + 1e-9
        now_s += wait_s
        if last_s is not None:
            assert now_s - last_s >= INTERVAL_S - 1e-9
        pace.began(commands, now_s)
        last_s = now_s if commands >= BUSY else None
        now_s += lasted_s

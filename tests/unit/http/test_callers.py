from __future__ import annotations

import pytest

from bitnexus.http.callers import FRESH_S, Callers
from bitnexus.http.fast_path import Answer

ANN, BEN = "ann", "ben"
FIRST: Answer = (200, b"first", {})
SECOND: Answer = (200, b"second", {})


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def callers(clock):
    return Callers(clock=clock, most=3)


def test_an_answer_is_as_old_as_its_reading_and_kept_for_a_moment(callers, clock):
    reading = callers.reading()
    clock.now += FRESH_S * 0.75  # the database takes its time
    callers.keep(ANN, FIRST, reading)
    assert callers.answer(ANN) == FIRST
    assert callers.answer(BEN) is None
    clock.now += FRESH_S * 0.25
    assert callers.answer(ANN) is None
    assert len(callers) == 0


def test_what_was_changed_is_forgotten(callers):
    callers.keep(ANN, FIRST, callers.reading())
    callers.forget(ANN)
    assert callers.answer(ANN) is None


def test_what_was_read_before_a_change_is_not_kept_after_it(callers):
    reading = callers.reading()
    callers.forget(ANN)
    callers.keep(ANN, FIRST, reading)
    assert callers.answer(ANN) is None
    callers.keep(ANN, SECOND, callers.reading())
    assert callers.answer(ANN) == SECOND


def test_no_more_are_kept_than_so_many_the_last_ones(callers):
    for number in range(5):
        callers.keep(str(number), FIRST, callers.reading())
    assert len(callers) == 3
    assert [callers.answer(str(number)) is not None for number in range(5)] == [False, False, True, True, True]


def test_forgetting_who_is_not_kept_leaves_the_others(callers):
    callers.keep(ANN, FIRST, callers.reading())
    callers.forget(BEN)
    assert callers.answer(ANN) == FIRST

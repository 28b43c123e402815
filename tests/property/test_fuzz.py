"""The short form of ``make fuzz``, always the same."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import target


@pytest.mark.parametrize("seed", range(6))
def test_well_formed_talk_that_was_tampered_with_raises_the_protocols_own_errors_alone(seed):
    chance, start = random.Random(seed), target.seeds()[seed]
    for _ in range(3_000):
        target.one_input(target.mutated(start, chance))


@settings(derandomize=True, max_examples=1_000, deadline=None)
@given(st.binary(max_size=600))
def test_garbage_raises_the_protocols_own_errors_alone(garbage):
    target.one_input(garbage)


def test_the_seeds_themselves_get_through():
    for given_ in target.seeds():
        if given_[0] != 4:
            target.one_input(given_)

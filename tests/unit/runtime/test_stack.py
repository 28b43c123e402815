from __future__ import annotations

import resource
import sys

import pytest

from bitnexus.actors.runtime.stack import with_room

CALLS = 2_000
#: Frames deep: more than a chunk of CPython's holds, so that its end is met at one depth or another.
DEPTHS = 200


def small(a, b, c):
    return a, b, c


def at_depth(depth, function):
    return at_depth(depth - 1, function) if depth else function()


def faults_of_calls():
    """How many pages the kernel had to give for many calls from here."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(CALLS):
        small(1, 2, 3)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_the_functions_result_and_its_exception_come_through():
    assert with_room(lambda: 17) == 17
    with pytest.raises(ZeroDivisionError):
        with_room(lambda: 1 / 0)


def test_what_runs_in_it_can_call_as_deep_as_anywhere_else():
    depth = sys.getrecursionlimit() - 400
    assert with_room(lambda: at_depth(depth, lambda: "there")) == "there"


def test_at_no_depth_does_a_call_map_memory():
    if max(at_depth(depth, faults_of_calls) for depth in range(DEPTHS)) < CALLS:
        pytest.skip("this interpreter keeps a chunk of frames for the next call")
    assert max(at_depth(depth, lambda: with_room(faults_of_calls)) for depth in range(DEPTHS)) < CALLS / 10

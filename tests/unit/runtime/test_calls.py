from __future__ import annotations

from typing import Any, cast

import pytest

from bitnexus.actors.runtime import calls
from bitnexus.actors.runtime.calls import OpenCalls
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.message import Done
from bitnexus.errors import Overloaded


def open_call(table: OpenCalls, name: str = "a", deadline: float = 10.0, **options: Any) -> calls.OpenCall:
    return table.open(name, Done(), lambda _: None, deadline=deadline, **options)


def test_a_call_is_over_once():
    table = OpenCalls()
    call = open_call(table)
    assert call.ref in table
    assert table.close(call.ref) is call
    assert table.close(call.ref) is None
    assert len(table) == 0


def test_numbers_are_never_used_twice():
    table = OpenCalls()
    first = open_call(table)
    table.close(first.ref)
    assert open_call(table).ref != first.ref


def test_the_number_of_open_calls_is_bounded(monkeypatch):
    monkeypatch.setattr(calls, "MAX_OPEN_CALLS", 2)
    table = OpenCalls()
    first = open_call(table)
    open_call(table)
    with pytest.raises(Overloaded):
        open_call(table)
    table.close(first.ref)
    open_call(table)


def test_calls_expire_at_their_deadline_and_not_before():
    table = OpenCalls()
    early, late = open_call(table, deadline=1.0), open_call(table, deadline=2.0)
    assert table.expire(0.999) == []
    assert table.expire(1.0) == [early]
    assert table.expire(1.0) == []
    assert table.expire(3.0) == [late]


def test_parked_calls_wait_for_their_name_and_expire_like_others():
    table = OpenCalls()
    one, two, other = open_call(table), open_call(table, deadline=1.0), open_call(table, "b")
    for call in (one, two, other):
        table.park(call)
    assert table.parked_count() == 3
    assert table.expire(1.0) == [two]
    assert table.awaited_names() == ["a", "b"]
    assert table.unpark("a") == [one]
    assert table.unpark("a") == []
    assert table.awaited_names() == ["b"]


def test_parked_calls_are_sent_in_the_order_in_which_they_were_made_whenever_they_were_parked():
    table = OpenCalls()
    sent_before, made_since = open_call(table), open_call(table)
    table.park(made_since)
    table.park(sent_before)  # it came back from a process that has died
    assert table.unpark("a") == [sent_before, made_since]


def test_a_parked_call_that_was_given_up_is_not_sent():
    table = OpenCalls()
    call = open_call(table)
    table.park(call)
    table.close(call.ref)
    assert table.unpark("a") == []


def test_the_calls_of_one_connection_are_found_and_a_parked_one_is_on_none():
    table = OpenCalls()
    one, two = cast("Connection", object()), cast("Connection", object())
    first, second, parked = open_call(table), open_call(table), open_call(table)
    first.connection, second.connection, parked.connection = one, two, one
    table.park(parked)
    assert table.over(one) == [first]
    assert table.over(two) == [second]

import pytest

from bitnexus.actors.runtime.reasons import NORMAL, killed, raised
from bitnexus.supervision.history import Counters, History


def test_only_the_last_exits_of_a_child_are_kept_but_all_are_counted() -> None:
    history = History(exits=3)
    for number in range(10):
        history.exited("a", killed(number), now=float(number), uptime_s=1.0)
    assert [end.reason.signal for end in history.of("a")] == [7, 8, 9]
    assert history.counters("a") == Counters(exits=10, crashes=10)


def test_only_the_children_that_ended_last_are_kept() -> None:
    history = History(children=3)
    for child in ("a", "b", "c", "a", "d"):
        history.exited(child, NORMAL, now=0.0, uptime_s=None)
    assert (len(history), history.of("b")) == (3, [])
    assert [child for child, _ in history.latest(2)] == ["d", "a"]
    assert history.totals == Counters(exits=5)


def test_nothing_is_held_for_a_child_that_never_ended() -> None:
    history = History()
    history.restarted("a")
    assert (len(history), history.of("a"), history.counters("a")) == (0, [], Counters())
    assert history.totals.restarts == 1


def test_a_crash_keeps_the_head_of_its_traceback() -> None:
    history = History()
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    history.exited("a", raised(caught.value), now=0.0, uptime_s=0.5)
    assert "test_a_crash_keeps_the_head_of_its_traceback" in history.of("a")[0].traceback

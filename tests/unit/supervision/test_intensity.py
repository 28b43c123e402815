from bitnexus.supervision.intensity import RestartWindow


def test_as_many_restarts_as_the_intensity_are_allowed_and_the_next_is_not() -> None:
    window = RestartWindow(3, 5)
    assert [window.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_an_intensity_of_zero_never_allows_a_restart() -> None:
    assert not RestartWindow(0, 5).take(0.0)


def test_a_restart_exactly_one_period_ago_still_counts() -> None:
    window = RestartWindow(1, 5)
    assert window.take(100.0)
    assert not window.take(105.0)


def test_a_restart_just_over_one_period_ago_is_forgotten() -> None:
    window = RestartWindow(1, 5)
    assert window.take(100.0)
    assert window.take(105.000001)


def test_restarts_slower_than_the_intensity_go_on_for_ever() -> None:
    window = RestartWindow(2, 5)
    assert all(window.take(100.0 + 2.6 * attempt) for attempt in range(1000))
    assert window.used(100.0 + 2.6 * 999) == 2


def test_used_counts_what_is_in_the_window_at_that_time() -> None:
    window = RestartWindow(3, 5)
    window.take(10.0)
    window.take(12.0)
    assert [window.used(at) for at in (12.0, 15.0, 15.5, 17.0, 17.5)] == [2, 2, 1, 1, 0]

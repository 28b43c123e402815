from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.errors import TooManyRequests
from bitnexus.http.throttle import Policy, Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def allowed(throttle, key="key"):
    try:
        throttle.take(key)
    except TooManyRequests:
        return False
    return True


class Bucket:
    """The plain model: a bucket of `quota` tokens, filled evenly, in exact numbers."""

    def __init__(self, quota, window_s, now) -> None:
        self.quota, self.rate, self.tokens, self.seen = quota, Fraction(quota, window_s), Fraction(quota), Fraction(now)

    def take(self, now):
        now = Fraction(now)
        self.tokens = min(self.quota, self.tokens + (now - self.seen) * self.rate)
        self.seen = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@given(
    st.sampled_from([1, 2, 5, 8]),
    st.sampled_from([1, 4, 16]),
    st.lists(st.integers(0, 64), max_size=100),  # in 1/64 s: exact in floats, and so are these quotas' intervals or not
)
def test_it_allows_what_a_bucket_of_tokens_does(quota, window_s, waits):
    clock = Clock()
    throttle, bucket = Throttle(Policy("p", quota, window_s), clock), Bucket(quota, window_s, 1000)
    for wait in waits:
        clock.now += wait / 64
        assert allowed(throttle) == bucket.take(clock.now)


@given(st.integers(1, 100_000), st.integers(1, 3600))
def test_who_waits_as_long_as_told_is_allowed_and_told_whole_seconds(quota, window_s):
    clock = Clock()
    throttle = Throttle(Policy("p", quota, window_s), clock)
    throttle._fresh_at["key"] = clock.now + window_s
    with pytest.raises(TooManyRequests) as refused:
        throttle.take("key")
    after_s = refused.value.retry_after_s
    assert isinstance(after_s, int)
    assert 1 <= after_s <= window_s + 1
    assert refused.value.headers["RateLimit"] == f'"p";r=0;t={after_s}'
    assert refused.value.headers["RateLimit-Policy"] == f'"p";q={quota};w={window_s}'
    clock.now += after_s
    assert allowed(throttle)


def test_exactly_the_quota_is_allowed_at_once_and_each_answer_can_tell_what_is_left():
    for quota in (1, 3, 7, 10, 60, 10_000):
        throttle = Throttle(Policy("p", quota, 60), Clock())
        for left in reversed(range(quota)):
            headers: dict[str, str] = {}
            throttle.tell(headers, throttle.take("key"))
            assert headers["RateLimit"].startswith(f'"p";r={left};t=')
        assert not allowed(throttle)
        assert allowed(throttle, "another key")


def test_what_was_given_back_can_be_used_again():
    throttle = Throttle(Policy("p", 2, 60), Clock())
    for _ in range(10):
        throttle.take("key")
        throttle.give_back("key")
    throttle.give_back("unknown")
    assert [allowed(throttle) for _ in range(3)] == [True, True, False]


def test_keys_are_bounded_and_those_that_have_used_most_are_kept():
    clock = Clock()
    throttle = Throttle(Policy("p", 5, 60), clock, most=100)
    for _ in range(5):
        throttle.take("guesser")
    for number in range(1000):
        throttle.take(f"stranger {number}")
        assert len(throttle) <= 100
    assert not allowed(throttle, "guesser")
    clock.now += 120
    for number in range(1000):
        throttle.take(f"stranger {number}")
    assert "guesser" not in throttle._fresh_at

import pytest

from streaming.ratelimit import TokenBucket

pytestmark = pytest.mark.unit


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_burst_goes_at_once_and_the_rest_at_the_rate():
    bucket = TokenBucket(rate=10, burst=3, clock=Clock())

    assert [bucket.reserve() for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])


def test_a_quiet_time_fills_it_up_to_the_burst():
    clock = Clock()
    bucket = TokenBucket(rate=10, burst=2, clock=clock)
    for _ in range(4):
        bucket.reserve()
    clock.now += 60

    assert [bucket.reserve() for _ in range(3)] == pytest.approx([0, 0, 0.1])


def test_nobody_asks_while_the_venue_has_enough():
    clock = Clock()
    bucket = TokenBucket(rate=10, burst=3, clock=clock)
    bucket.hold(5)
    clock.now += 2

    assert bucket.reserve() == pytest.approx(3)

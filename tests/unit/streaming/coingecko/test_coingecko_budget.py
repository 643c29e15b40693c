from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from streaming.coingecko.budget import Limits, Spent, due, left

pytestmark = pytest.mark.unit

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
AMPLE = 10**9


def limits(*, every: float = 12, per_minute: int = 30, per_month: int = AMPLE) -> Limits:
    return Limits(every * SECOND, per_minute, per_month)


def spent(requests: int, last_at: datetime = NOON) -> Spent:
    return Spent(NOVEMBER, requests, last_at)


def test_the_first_request_is_due_at_once():
    assert due(Spent(), limits(), NOON) == NOON


def test_within_the_limits_requests_are_as_far_apart_as_wished():
    assert due(spent(1), limits(), NOON) == NOON + 12 * SECOND


def test_a_low_limit_of_the_minute_stretches_them():
    assert due(spent(1), limits(per_minute=2), NOON) == NOON + 30 * SECOND


def test_what_is_left_of_the_month_is_spread_over_the_rest_of_it():
    ten_days_and_a_half = DECEMBER - NOON

    assert due(spent(0), limits(per_month=100), NOON) == NOON + ten_days_and_a_half / 100
    assert due(spent(99), limits(per_month=100), NOON) == DECEMBER
    assert due(spent(50), limits(per_month=100), NOON) == NOON + ten_days_and_a_half / 50


def test_the_time_since_the_last_request_counts_however_late_one_looks():
    limit, last = limits(per_month=100), spent(50)

    assert {due(last, limit, NOON + wait * SECOND) for wait in (0, 5, 3600)} == {NOON + (DECEMBER - NOON) / 50}


@pytest.mark.parametrize("requests", [100, 101])
def test_a_month_that_is_spent_has_no_more(requests):
    assert left(spent(requests), limits(per_month=100), NOON) == 0
    assert due(spent(requests), limits(per_month=100), NOON) == DECEMBER


def test_a_new_month_begins_with_all_its_requests():
    assert left(spent(100), limits(per_month=100), DECEMBER) == 100
    assert spent(100).one_more(DECEMBER) == Spent(DECEMBER, 1, DECEMBER)


def test_after_a_year_has_ended_the_next_one_begins():
    last_of_year = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)

    assert due(Spent(DECEMBER, 1, last_of_year), limits(per_month=1), last_of_year) == last_of_year + SECOND


def test_a_request_of_the_month_before_holds_back_the_first_of_the_next():
    last = DECEMBER - SECOND

    assert due(spent(5, last), limits(), DECEMBER) == last + 12 * SECOND
    assert due(spent(5, last), limits(per_month=31), DECEMBER) == last + timedelta(days=1)


def test_a_clock_that_was_set_back_holds_up_no_longer_than_one_request():
    assert due(spent(1, NOON + timedelta(days=3)), limits(), NOON) == NOON + 12 * SECOND


def test_months_are_those_of_utc():
    tokyo = datetime.fromisoformat("2026-12-01T08:59:59+09:00")

    assert Spent().one_more(tokyo) == Spent(NOVEMBER, 1, tokyo)


@pytest.mark.parametrize("per_month", [1, 7, 100, 5000])
def test_a_months_requests_last_to_its_end_and_are_used_but_for_one_that_falls_on_it(per_month):
    limit, now, made, seen = limits(per_month=per_month), NOVEMBER, Spent(), []
    while (now := due(made, limit, now)) < DECEMBER:
        made = made.one_more(now)
        seen.append(now)

    assert per_month - 1 <= len(seen) <= per_month
    assert now == DECEMBER
    assert all(later - earlier >= 12 * SECOND for earlier, later in pairwise(seen))

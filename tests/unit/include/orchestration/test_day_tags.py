from datetime import UTC, date, datetime, timedelta

import pytest

from include.orchestration.day_tags import whole_days

pytestmark = pytest.mark.unit

MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
LONG_AGO = MIDNIGHT - timedelta(days=30)


def hours(first: datetime, count: int) -> set[datetime]:
    return {first + n * HOUR for n in range(count)}


def test_a_day_is_whole_when_its_last_hour_is_published():
    assert whole_days(hours(MIDNIGHT, 23), LONG_AGO, None) == []
    assert whole_days(hours(MIDNIGHT, 24), LONG_AGO, None) == [date(2026, 11, 20)]


def test_a_day_that_lacks_an_hour_in_its_middle_is_not_whole():
    assert whole_days(hours(MIDNIGHT, 24) - {MIDNIGHT + 9 * HOUR}, LONG_AGO, None) == []


def test_the_lakes_first_day_begins_with_its_first_hour():
    first = MIDNIGHT + 6 * HOUR

    assert whole_days(hours(first, 18), LONG_AGO, first) == [date(2026, 11, 20)]


def test_days_that_ended_too_long_ago_are_not_tagged_anew():
    published = hours(MIDNIGHT, 48)

    assert whole_days(published, MIDNIGHT + 25 * HOUR, None) == [date(2026, 11, 21)]

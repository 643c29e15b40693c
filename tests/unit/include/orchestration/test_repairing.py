from datetime import UTC, datetime, timedelta

import pytest

from include.orchestration.hours import Hour
from include.orchestration.repairing import holes_of

pytestmark = pytest.mark.unit

HOUR = Hour(datetime(2026, 11, 20, 9, tzinfo=UTC))
FIVE = HOUR.start + timedelta(minutes=5)


def holes(times: dict[int, datetime], *lost: range) -> list[range]:
    return list(holes_of(times, HOUR, lost))


def test_contiguous_ids_have_no_hole():
    assert holes(dict.fromkeys(range(100, 200), FIVE)) == []


def test_what_is_missing_between_two_trades_is_a_hole():
    assert holes({100: FIVE, 103: FIVE, 104: FIVE, 110: FIVE}) == [range(101, 103), range(105, 110)]


def test_order_of_arrival_makes_no_hole():
    assert holes({102: FIVE, 100: FIVE, 101: FIVE}) == []


@pytest.mark.parametrize(
    ("earlier", "later", "found"),
    [
        (-60, -1, False),  # wholly before the hour
        (-60, 0, True),  # a missing trade may be the hour's first
        (-60, 4000, True),
        (3599, 3601, True),
        (3600, 3660, False),  # wholly after it
    ],
)
def test_a_hole_is_the_hours_if_a_missing_trade_may_lie_in_it(earlier: int, later: int, found: bool):
    times = {1: HOUR.start + timedelta(seconds=earlier), 5: HOUR.start + timedelta(seconds=later)}

    assert holes(times) == ([range(2, 5)] if found else [])


@pytest.mark.parametrize(
    ("lost", "left"),
    [
        ((range(101, 110),), []),
        ((range(90, 120),), []),
        ((range(101, 103), range(103, 110)), []),
        ((range(103, 105),), [range(101, 103), range(105, 110)]),
        ((range(108, 110), range(101, 104)), [range(104, 108)]),
        ((range(110, 120), range(80, 101)), [range(101, 110)]),
        ((range(102, 106), range(104, 108)), [range(101, 102), range(108, 110)]),
    ],
)
def test_what_was_told_to_be_unavailable_is_not_asked_for_again(lost: tuple[range, ...], left: list[range]):
    assert holes({100: FIVE, 110: FIVE}, *lost) == left

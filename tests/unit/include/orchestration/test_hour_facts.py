import pytest

from include.orchestration.hour_facts import completeness

pytestmark = pytest.mark.unit


def test_a_minute_without_trades_is_as_complete_as_one_with():
    said = completeness(["complete", "empty", "gap", "complete"], [3, 0])

    assert said == {
        "completeness": 0.75,
        "minutes_complete": 2,
        "minutes_empty": 1,
        "minutes_gap": 1,
        "minutes_open": 0,
        "missing_trades": 3,
    }


def test_an_hour_that_lacks_anything_is_never_rounded_up_to_complete():
    assert completeness(["gap", *["complete"] * 99_999], [1])["completeness"] == 0.9999


def test_an_hour_without_products_is_neither_complete_nor_incomplete():
    assert completeness([], [])["completeness"] is None

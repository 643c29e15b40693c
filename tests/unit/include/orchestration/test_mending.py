"""Which failures a publication mends, by the verdicts that are kept."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.orchestration.mending import find_mended

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
RULE = ("gold.ohlcv_1m", "every_minute")


def attempt(number: int, verdict: str = "pass") -> list[dict[str, Any]]:
    """Give the verdicts of one attempt: a rule that holds and the one in question."""
    at = NOON + timedelta(minutes=number)
    row = {"branch": f"hour-{number}", "run_id": f"run-{number}", "checked_at": at, "table_name": RULE[0]}
    return [row | {"rule_id": "counts_silver", "verdict": "pass"}, row | {"rule_id": RULE[1], "verdict": verdict}]


def mended(*attempts: list[dict[str, Any]], branch: str, set_aside: tuple[str, ...] = ()) -> Any:
    return find_mended([row for rows in attempts for row in rows], branch, set_aside.__contains__)


def test_an_hour_that_was_never_blocked_mends_nothing():
    assert mended(attempt(1), attempt(2), branch="hour-2") is None


def test_an_hour_that_was_blocked_is_mended_by_its_publication():
    found = mended(attempt(1, "block"), attempt(2), branch="hour-2", set_aside=("hour-1",))

    assert (found.blocked, found.waived) == ({RULE: "run-1"}, frozenset())
    assert str(found) == "every_minute of gold.ohlcv_1m (broken in run-1) holds"


def test_what_was_blocked_again_and_again_is_told_once_with_the_newest_run():
    found = mended(
        attempt(1, "block"), attempt(2, "block"), attempt(3), branch="hour-3", set_aside=("hour-1", "hour-2")
    )

    assert found.blocked == {RULE: "run-2"}


def test_a_failure_that_a_publication_has_mended_is_not_told_again():
    assert mended(attempt(1, "block"), attempt(2), attempt(3), branch="hour-3", set_aside=("hour-1",)) is None


def test_an_attempt_that_passed_and_was_not_published_mended_nothing():
    found = mended(attempt(1, "block"), attempt(2), attempt(3), branch="hour-3", set_aside=("hour-1", "hour-2"))

    assert found.blocked == {RULE: "run-1"}


def test_a_failure_after_this_publication_is_not_its_to_tell():
    assert mended(attempt(1), attempt(2, "block"), branch="hour-1") is None


def test_a_rule_that_was_waived_is_told_as_waived():
    found = mended(attempt(1, "block"), attempt(2, "waived"), branch="hour-2", set_aside=("hour-1",))

    assert str(found) == "every_minute of gold.ohlcv_1m (broken in run-1) is waived"

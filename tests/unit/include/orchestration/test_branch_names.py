from datetime import UTC, datetime

import pytest

from include.orchestration.hours import Hour
from include.orchestration.turn import branch_name

pytestmark = pytest.mark.unit

HOUR = Hour(datetime(2026, 11, 20, 9, tzinfo=UTC))


def name(run_id: str = "scheduled__1", attempt_id: str = "0193", try_number: int = 1) -> str:
    return branch_name(HOUR, dag_id="trades_hourly", run_id=run_id, attempt_id=attempt_id, try_number=try_number)


def test_a_branch_says_its_hour_and_try():
    assert name(try_number=2).startswith("hour-2026-11-20T09-")
    assert name(try_number=2).endswith("-2")


def test_a_branch_of_no_one_hour_says_whose_it_is():
    assert branch_name(None, dag_id="late_trades", run_id="r", attempt_id="a", try_number=1).startswith("late-trades-")


def test_a_branch_has_no_slash_and_no_colon_which_addresses_cannot_carry():
    assert not set(name("backfill__2026-11-20T09:00:00+00:00")) & set("/:+")


def test_no_two_attempts_share_a_name_not_even_of_a_run_that_was_deleted_and_made_again():
    assert len({name(), name(run_id="scheduled__2"), name(attempt_id="0194"), name(try_number=2)}) == 4

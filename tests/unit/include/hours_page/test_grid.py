from datetime import UTC, datetime, timedelta

import pytest

from include.contracts import gold, silver
from include.hours_page.grid import Attempt, Publication, Status, by_day, freshness, hours_between, statuses
from include.orchestration.hours import Hour

pytestmark = pytest.mark.unit

TABLE, OTHER = "gold.ohlcv_1m", "silver.trades"
NINE = "2026-11-20T09"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
AN_HOUR = timedelta(hours=1)


def published(run_id: str = "first", *, gaps: int = 0, table: str = TABLE) -> Publication:
    return Publication(table, NINE, run_id, NOON, gaps)


def status(*attempts: Attempt, publication: Publication | None = None, stale_since: datetime | None = None) -> Status:
    publications = [publication] if publication else []
    stale = {NINE: stale_since} if stale_since else {}
    (found,) = statuses([TABLE], [NINE], attempts, publications, stale)[TABLE]
    return found


def attempt(state: str, *failed_tasks: str, run_id: str = "first") -> Attempt:
    return Attempt(NINE, run_id, state, None if state == "queued" else NOON - AN_HOUR, failed_tasks)


def test_an_hour_of_which_nothing_is_known_is_missing():
    assert status() is Status.MISSING


def test_an_hour_whose_run_ended_well_without_this_table_is_missing():
    assert status(attempt("success"), publication=published(table=OTHER)) is Status.MISSING


def test_an_announced_hour_is_published_also_when_its_run_is_forgotten():
    assert status(publication=published()) is status(attempt("success"), publication=published()) is Status.PUBLISHED


def test_a_table_is_published_once_it_is_announced_whatever_the_run_does_then():
    assert status(attempt("running"), publication=published()) is Status.PUBLISHED
    assert status(attempt("failed", "announce.x"), publication=published()) is Status.PUBLISHED


@pytest.mark.parametrize(("state", "expected"), [("running", Status.RUNNING), ("queued", Status.QUEUED)])
def test_an_hour_that_is_built_again_says_so(state: str, expected: Status):
    assert status(attempt("success"), attempt(state, run_id="again"), publication=published()) is expected


@pytest.mark.parametrize(
    ("failed", "expected"),
    [("gate_silver", Status.FAILED_GATE), ("bronze_to_silver", Status.FAILED), ("take_turn", Status.FAILED)],
)
def test_the_newest_run_that_failed_says_how_though_an_older_one_published(failed: str, expected: Status):
    assert status(attempt("success"), attempt("failed", failed, run_id="again"), publication=published()) is expected


@pytest.mark.parametrize(
    ("state", "failed", "expected"),
    [
        ("running", (), Status.RUNNING),
        ("failed", ("gate_gold",), Status.FAILED_GATE),
        ("success", (), Status.PUBLISHED),
    ],
)
def test_a_run_that_was_cleared_after_it_had_published_speaks_anew(state: str, failed, expected: Status):
    assert status(Attempt(NINE, "first", state, NOON + AN_HOUR, failed), publication=published()) is expected


def test_a_run_that_was_cancelled_before_its_first_task_changes_nothing():
    assert status(attempt("success"), attempt("failed", run_id="again"), publication=published()) is Status.PUBLISHED
    assert status(attempt("failed", run_id="again")) is Status.MISSING


def test_an_hour_with_candles_that_lack_trades_has_a_gap():
    assert status(attempt("success"), publication=published(gaps=1)) is Status.GAP


def test_trades_that_came_after_the_publication_make_it_stale_those_before_do_not():
    assert status(publication=published(gaps=1), stale_since=NOON + AN_HOUR) is Status.STALE
    assert status(publication=published(), stale_since=NOON - AN_HOUR) is Status.PUBLISHED


def test_each_table_has_a_row_with_a_status_for_each_hour():
    rows = statuses([TABLE, OTHER], [NINE, "2026-11-20T10"], [attempt("success")], [published()], {})

    assert rows == {TABLE: [Status.PUBLISHED, Status.MISSING], OTHER: [Status.MISSING, Status.MISSING]}


def test_a_day_is_as_its_worst_hour():
    hours = hours_between(Hour.of_key("2026-11-20T22"), Hour.of_key("2026-11-21T01"))

    assert by_day(hours, [Status.PUBLISHED, Status.GAP, Status.STALE, Status.FAILED_GATE]) == {
        "2026-11-20": Status.GAP,
        "2026-11-21": Status.FAILED_GATE,
    }


def test_hours_that_stand_the_other_way_are_none():
    assert hours_between(Hour.of_key(NINE), Hour.of_key("2026-11-20T08")) == []
    assert hours_between(Hour.of_key(NINE), Hour.of_key(NINE)) == [NINE]


@pytest.mark.parametrize(("now", "is_kept"), [(NOON, True), (NOON + timedelta(minutes=1), False)])
def test_a_table_is_fresh_while_its_newest_hour_ended_no_longer_ago_than_the_contract_says(now, is_kept):
    assert gold.OHLCV_1M.freshness == 2 * AN_HOUR

    fresh = freshness(gold.OHLCV_1M, NINE, now)

    assert (fresh.age, fresh.is_kept) == (now - (NOON - 2 * AN_HOUR), is_kept)


def test_a_table_of_which_nothing_is_published_keeps_no_promise_and_without_a_promise_there_is_none_to_keep():
    assert freshness(gold.OHLCV_1M, None, NOON).is_kept is False
    assert silver.TRADE_GAPS.freshness is None
    assert freshness(silver.TRADE_GAPS, None, NOON).is_kept is None

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.orchestration.hours import Hour
from include.orchestration.rebuilding import (
    MOST_AT_ONCE,
    Backfill,
    Build,
    Done,
    Request,
    Step,
    Wait,
    next_step,
    request_of,
)

pytestmark = pytest.mark.unit

MINE = "manual__mine"
SIX, SEVEN, EIGHT, NINE = (f"2026-11-20T0{hour}" for hour in (6, 7, 8, 9))
NOW = datetime(2026, 11, 20, 12, 5, tzinfo=UTC)


def request(first: str = SIX, last: str = EIGHT, *, backwards: bool = False) -> Request:
    return Request(Hour.of_key(first), Hour.of_key(last), backwards, MINE)


def step(
    asked: Request | None = None,
    *backfills: Backfill,
    own: Mapping[str, str] | None = None,
    in_flight: Collection[str] = (),
) -> Step:
    return next_step(asked or request(), backfills, own or {}, in_flight)


def build(first: str, last: str) -> Build:
    return Build(Hour.of_key(first), Hour.of_key(last))


def of_mine(*, is_over: bool = True, is_paused: bool = False) -> Backfill:
    return Backfill(7, MINE, is_over, is_paused)


def form(first: str, last: str, **more: Any) -> dict[str, Any]:
    return {"first_hour": first, "last_hour": last, "backwards": False} | more


def read(asked: Mapping[str, Any], covered_from: str | None = "2026-11-20T06:00:00+00:00") -> Request:
    covered = datetime.fromisoformat(covered_from) if covered_from else None
    return request_of(asked, mark=MINE, covered_from=covered, now=NOW)


def test_a_form_gives_its_hours_the_last_one_included():
    asked = read(form("2026-11-20T06:00:00Z", "2026-11-20T10:00:00+02:00"))

    assert asked == request(SIX, EIGHT)
    assert [hour.key for hour in asked.hours] == [SIX, SEVEN, EIGHT]
    assert Request.of(asked.as_json()) == asked


def test_backwards_the_newest_hour_comes_first():
    assert [hour.key for hour in request(backwards=True).hours] == [EIGHT, SEVEN, SIX]


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("2026-11-20T08:30:00Z", "2026-11-20T09:00:00Z", "first_hour 2026-11-20T08:30:00Z is not the start of an hour"),
        ("2026-11-20T09:00:00Z", "2026-11-20T08:00:00Z", "comes after last_hour 2026-11-20T08"),
        ("2026-11-20T09:00:00Z", "2026-11-20T12:00:00Z", "2026-11-20T12 is not over yet; .* is 2026-11-20T11"),
        ("2026-11-20T05:00:00Z", "2026-11-20T08:00:00Z", "2026-11-20T05 lies before the lake's first"),
    ],
)
def test_hours_that_cannot_be_built_are_refused_in_a_sentence(first: str, last: str, words: str):
    with pytest.raises(ValueError, match=words):
        read(form(first, last))


def test_before_a_product_is_followed_there_is_no_hour():
    with pytest.raises(ValueError, match="no product is followed yet"):
        read(form("2026-11-20T06:00:00Z", "2026-11-20T06:00:00Z"), covered_from=None)


def test_a_request_begins_with_all_its_hours_in_one_backfill():
    assert step() == build(SIX, EIGHT)


@pytest.mark.parametrize(
    ("active", "words"),
    [
        (Backfill(3, None, is_over=False, is_paused=False), "backfill 3, which a person began"),
        (Backfill(3, "manual__other", is_over=False, is_paused=False), "backfill 3, which manual__other began"),
        (of_mine(is_over=False), "its backfill 7"),
        (of_mine(is_over=False, is_paused=True), "its backfill 7, which is paused"),
    ],
)
def test_it_waits_while_any_backfill_is_active(active: Backfill, words: str):
    waiting = step(None, active, own={SIX: "success", SEVEN: "running"})

    assert isinstance(waiting, Wait)
    assert words in waiting.why


def test_what_was_begun_before_a_crash_is_not_begun_again():
    own = {SIX: "success", SEVEN: "queued"}

    assert step(None, of_mine(), own=own) == Wait(f"the end of its runs of {SEVEN}")
    assert step(None, of_mine(), own=own | {SEVEN: "success"}) == build(EIGHT, EIGHT)
    assert step(None, of_mine(), own=dict.fromkeys((SIX, SEVEN, EIGHT), "success")) == Done(
        dict.fromkeys((SIX, SEVEN, EIGHT), "success")
    )


def test_an_hour_that_others_are_building_comes_last():
    assert step(in_flight=[SIX]) == build(SEVEN, EIGHT)
    assert step(in_flight=[SEVEN]) == build(SIX, SIX)
    assert step(own={SEVEN: "success", EIGHT: "success"}, in_flight=[SIX]) == Wait(f"the end of others' runs of {SIX}")


def test_many_hours_are_begun_a_week_at_a_time_in_the_order_that_was_asked_for():
    first = Hour.of_key(SIX)
    last = Hour(first.start + timedelta(hours=MOST_AT_ONCE))

    assert step(Request(first, last, False, MINE)) == Build(first, Hour(last.start - timedelta(hours=1)))
    assert step(Request(first, last, True, MINE)) == Build(Hour(first.start + timedelta(hours=1)), last)


def test_hours_that_failed_are_named_in_the_end_and_not_built_again():
    done = step(None, of_mine(), own={SIX: "success", SEVEN: "failed", EIGHT: "success"})

    assert isinstance(done, Done)
    assert done.unbuilt == [SEVEN]
    assert str(done) == f"1 of 3 hours were not built (their runs say why): {SEVEN}"


def test_a_cancelled_backfill_ends_the_request():
    done = step(None, of_mine(is_paused=True), own={SIX: "success", SEVEN: "failed"})

    assert isinstance(done, Done)
    assert str(done) == f"2 of 3 hours were not built (the backfill was cancelled): {SEVEN}, {EIGHT}"


def test_a_backfill_that_was_paused_for_a_while_and_built_all_is_no_cancelled_one():
    done = step(None, of_mine(is_paused=True), own=dict.fromkeys((SIX, SEVEN, EIGHT), "success"))

    assert str(done) == "3 of 3 hours were built"

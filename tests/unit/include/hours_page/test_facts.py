from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from include.hours_page import facts
from include.hours_page.grid import Attempt, Publication
from tests.drivers.airflow_records import NOON, Records

pytestmark = pytest.mark.unit

SEVEN, EIGHT, NINE = (f"2026-11-20T0{hour}" for hour in (7, 8, 9))
CANDLES, TRADES = "gold.ohlcv_1m", "silver.trades"
LATER = NOON + timedelta(hours=1)


def test_only_the_hours_that_are_shown_are_read(session: Session, records: Records):
    for hour in (SEVEN, EIGHT, NINE):
        run_id = records.run(hour)
        records.announce(CANDLES, hour, run_id, minutes_complete=60, minutes_gap=0)

    found = facts.gather(session, [EIGHT])

    assert found.attempts == [Attempt(EIGHT, f"scheduled__{EIGHT}", "success", NOON)]
    assert [(one.table, one.hour) for one in found.publications] == [(CANDLES, EIGHT)]
    assert found.newest == {CANDLES: NINE}
    assert facts.first_published(session) == SEVEN


def test_the_newest_announcement_of_a_table_and_hour_counts_with_its_gaps(session: Session, records: Records):
    records.announce(CANDLES, NINE, "first", minutes_complete=240, minutes_gap=0)
    records.announce(CANDLES, NINE, "again", at=LATER, minutes_complete=237, minutes_gap=3)
    records.announce(TRADES, NINE, "first")

    found = facts.gather(session, [NINE]).publications

    assert sorted(found, key=lambda one: one.table) == [
        Publication(CANDLES, NINE, "again", LATER, 3),
        Publication(TRADES, NINE, "first", NOON, 0),
    ]


def test_what_others_say_of_a_table_does_not_publish_it(session: Session, records: Records):
    records.announce(CANDLES, NINE, "by hand", dag_id="another")

    assert facts.gather(session, [NINE]).publications == []


def test_runs_come_in_the_order_in_which_they_ended_and_then_those_on_their_way(session: Session, records: Records):
    records.run(NINE, "running", run_id="cleared")
    records.run(NINE, run_id="later", at=LATER)
    records.run(NINE, "failed", run_id="earlier", failed=("gate_gold",))

    assert facts.gather(session, [NINE]).attempts == [
        Attempt(NINE, "earlier", "failed", NOON, ("gate_gold",)),
        Attempt(NINE, "later", "success", LATER),
        Attempt(NINE, "cleared", "running", NOON),
    ]


def test_an_hour_is_stale_since_the_newest_look_that_named_it(session: Session, records: Records):
    late = {"first": SEVEN, "last": NINE, "hours": {SEVEN: {}, NINE: {}}}
    records.announce("ops.late_trades", None, "one", dag_id="late_trades", **late)
    records.announce("ops.late_trades", None, "two", dag_id="late_trades", at=LATER, **late)
    records.announce("ops.late_trades", None, "three", dag_id="late_trades", at=LATER)

    assert facts.gather(session, [EIGHT, NINE]).stale_since == {SEVEN: LATER, NINE: LATER}
    assert facts.gather(session, ["2026-11-20T10"]).stale_since == {}


def test_an_hour_is_told_with_the_facts_of_each_table_and_its_runs_newest_first(session: Session, records: Records):
    records.run(NINE, run_id="first")
    records.run(NINE, "failed", run_id="again", failed=("publish",))
    records.announce(CANDLES, NINE, "first", rows=240, verdict="pass")

    tables, runs = facts.tables_of(session, NINE), facts.runs_of(session, NINE)

    assert tables == {
        CANDLES: {"run_id": "first", "published_at": NOON.isoformat(), "facts": {"rows": 240, "verdict": "pass"}}
    }
    assert [(run["run_id"], run["state"], run["failed_tasks"]) for run in runs] == [
        ("again", "failed", ["publish"]),
        ("first", "success", []),
    ]


def test_the_queue_has_requests_in_their_turn_and_then_the_newest_that_are_over(session: Session, records: Records):
    asked = {"first_hour": "2026-11-20T07:00:00Z", "last_hour": "2026-11-20T09:00:00Z", "backwards": True}
    for n in range(facts.ENDED_SHOWN + 1):
        records.request(f"over {n}", "success", asked)
    records.request("second", "queued", asked, at=LATER)
    records.request("first", "running", asked)

    requests = facts.queue(session)["requests"]

    assert [request["run_id"] for request in requests] == [
        "first", "second", *(f"over {n}" for n in range(facts.ENDED_SHOWN, 0, -1))
    ]  # fmt: skip
    assert {name: requests[0][name] for name in asked} == asked

"""An hour run twice is the same hour, and two runs at a time do not meet."""

from __future__ import annotations

from datetime import datetime

import pytest
from polars.testing import assert_frame_equal

from tests.drivers.airflow import Airflow
from tests.drivers.demo import Demo
from tests.drivers.lake import Lake
from tests.drivers.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]


def test_hours_rebuilt_side_by_side_take_turns_and_change_no_row(demo: Demo, airflow: Airflow, lake: Lake):
    before, hash_before = lake.hourly_rows(demo.start, demo.end), lake.references()["main"]
    known = {run["dag_run_id"] for run in airflow.runs()}
    airflow.wait_for_backfills()

    backfill(demo, demo.hours[0])
    triggered = airflow.trigger(demo.hours[1])

    def backfilled() -> str | None:
        new = (run for run in airflow.runs(demo.hours[0]) if run["dag_run_id"] not in known)
        return next((run["dag_run_id"] for run in new), None)

    run_ids = [triggered, eventually(backfilled, within=60, what="the backfill's run")]
    ended = [airflow.ended(run_id, within=600) for run_id in run_ids]

    assert [run["state"] for run in ended] == ["success", "success"]
    turns = sorted(turn(airflow, run_id) for run_id in run_ids)
    assert turns[0][1] <= turns[1][0], "both held the turn at once"
    assert lake.references()["main"] != hash_before, "nothing was published"
    for table, rows in lake.hourly_rows(demo.start, demo.end).items():
        assert_frame_equal(rows, before[table])


def backfill(demo: Demo, hour: datetime) -> None:
    """Build a published hour again, from the command line."""
    window = ("--from-date", hour.isoformat(), "--to-date", hour.isoformat(), "--reprocess-behavior", "completed")
    create = ("airflow", "backfill", "create", "--dag-id", "trades_hourly", *window)
    created = demo.stack.command("run", *create, timeout=180)
    assert created.returncode == 0, created.stdout


def turn(airflow: Airflow, run_id: str) -> tuple[datetime, datetime]:
    """Return from when to when a run had the turn."""
    tasks = {task["task_id"]: task for task in airflow.tasks(run_id)}
    return (
        datetime.fromisoformat(tasks["take_turn"]["end_date"]),
        datetime.fromisoformat(tasks["publish"]["end_date"]),
    )

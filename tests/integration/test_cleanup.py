"""Airflow forgets its old runs, and never what they published."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, text

from stack import database
from stack.layout import revealed
from tests.drivers.airflow import Airflow
from tests.drivers.airflow_records import Records
from tests.drivers.running_stack import RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

LONG_AGO = datetime(2020, 1, 1, 1, tzinfo=UTC)
HOUR = "2020-01-01T00"
TABLE = "gold.ohlcv_1m"


@pytest.fixture
def old_run(stack: RunningStack) -> Iterator[str]:
    """An hour of years ago, its run and its publication, as Airflow would have written them."""
    engine = create_engine(database.url(stack.settings.postgres, revealed(stack.settings, "postgres_password")))
    with engine.begin() as connection:
        records = Records(connection)
        run_id = records.run(HOUR, at=LONG_AGO)
        records.announce(TABLE, HOUR, run_id, at=LONG_AGO, rows=240)
    yield run_id
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM asset_event WHERE partition_key = :hour"), {"hour": HOUR})
        connection.execute(text("DELETE FROM dag_run WHERE partition_key = :hour"), {"hour": HOUR})
    engine.dispose()


def test_an_old_run_is_forgotten_and_the_hours_page_still_tells_what_it_published(
    stack: RunningStack, airflow: Airflow, old_run: str
):
    logs = stack.state / "logs" / "airflow" / "dag_id=trades_hourly"
    old_log = logs / f"run_id={old_run}" / "attempt=1.log"
    old_log.parent.mkdir()
    old_log.write_text("of long ago")
    for path in (old_log, old_log.parent):
        os.utime(path, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
    young_logs = {path for path in logs.iterdir() if path != old_log.parent}
    runs = len(airflow.runs())
    assert [run["run_id"] for run in airflow.hour_told(HOUR)["runs"]] == [old_run]

    assert airflow.do("airflow_cleanup", {}, within=300)["state"] == "success"

    told = airflow.hour_told(HOUR)
    assert told["runs"] == []
    assert told["tables"][TABLE]["facts"] == {"rows": 240}
    assert len(airflow.runs()) >= runs - 1, "a young run was forgotten too"
    assert not old_log.parent.exists()
    assert young_logs <= set(logs.iterdir()), "young logs were deleted"

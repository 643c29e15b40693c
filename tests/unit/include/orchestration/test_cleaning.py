import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.orchestration.cleaning import RECORDS, old_logs

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def written(path: Path, at: datetime) -> Path:
    """Write a log, so that it and the folders of its run are of that time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("log")
    for each in (path, path.parent, path.parent.parent):
        os.utime(each, (at.timestamp(), at.timestamp()))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def test_a_run_of_which_nothing_was_written_for_long_is_old(root: Path):
    old = written(root / "dag_id=hourly" / "run_id=old" / "task_id=a" / "attempt=1.log", NOON)
    written(root / "dag_id=hourly" / "run_id=young" / "task_id=a" / "attempt=1.log", NOON + timedelta(seconds=1))
    days = written(root / "dag_processor" / "2026-11-20" / "dags" / "hourly.py.log", NOON)

    assert set(old_logs(root, NOON + timedelta(seconds=1))) == {old.parents[1], days.parents[1]}
    assert list(old_logs(root, NOON)) == []


def test_a_run_whose_last_task_is_young_stays_whole(root: Path):
    run = root / "dag_id=hourly" / "run_id=long"
    written(run / "task_id=b" / "attempt=1.log", NOON + timedelta(days=1))
    written(run / "task_id=a" / "attempt=1.log", NOON)

    assert list(old_logs(root, NOON + timedelta(hours=1))) == []


def test_services_logs_are_left_alone(root: Path):
    written(root / "scheduler" / "2026-11-20" / "x.log", NOON)
    written(root / "airflow-api.log", NOON)

    assert list(old_logs(root, NOON + timedelta(days=99))) == []


def test_what_the_hours_page_shows_is_not_cleaned():
    assert "asset_event" not in RECORDS

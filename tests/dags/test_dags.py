from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from include.contracts import gold, silver
from include.settings import CHECKOUT

pytestmark = [pytest.mark.dags, pytest.mark.timeout(300)]

DAGS = sorted((CHECKOUT / "dags").glob("*.py"))
MODELS = sorted((CHECKOUT / "dbt_project" / "models").rglob("*.sql"))

Bag = Mapping[str, Any]


@pytest.fixture
def tasks(bag: Bag) -> dict[str, Any]:
    return bag["dags"]["trades_hourly"]["tasks"]


def upstream_of(tasks: Mapping[str, Any], task_id: str) -> set[str]:
    """Return all tasks that must have ended before one begins."""
    direct = set(tasks[task_id]["upstream"])
    return direct.union(*(upstream_of(tasks, name) for name in direct))


def test_every_file_gives_the_dag_of_its_name(bag: Bag):
    assert bag["import_errors"] == {}
    assert {dag_id: dag["file"] for dag_id, dag in bag["dags"].items()} == {path.stem: path.name for path in DAGS}


def test_parsing_imports_nothing_heavy(bag: Bag):
    assert bag["loaded"] == []


def test_a_task_is_forked_with_the_libraries_that_it_needs_and_without_code_that_is_edited(preloading: Bag):
    assert preloading == {
        "start_method": "forkserver",
        "preloaded_ours": ["include.orchestration.preloaded"],
        "late": [],
    }


def test_without_a_manifest_the_import_error_says_what_to_run(bare_bag: Bag):
    (error,) = bare_bag["import_errors"].values()
    assert "manifest.json is missing; run `python -m stack init`" in error


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.name)
def test_a_dag_file_fits_on_a_screen(path):
    assert len(path.read_text().splitlines()) <= 80


def test_every_dag_says_what_to_do_when_it_fails(bag: Bag):
    assert [dag_id for dag_id, dag in bag["dags"].items() if "**When it fails**" not in (dag["doc_md"] or "")] == []


def test_every_task_alerts_when_it_fails_for_good(bag: Bag):
    silent = [name for dag in bag["dags"].values() for name, task in dag["tasks"].items() if not task["alerts"]]
    assert silent == []


def test_the_first_hour_is_due_at_its_end(bag: Bag):
    assert bag["dags"]["trades_hourly"]["start_date"] == "2026-11-20T07:00:00+00:00"
    assert bag["dags"]["trades_hourly"]["catchup"]


def test_each_dbt_model_is_its_own_task(tasks: Mapping[str, Any]):
    assert {name for name in tasks if name.startswith("dbt_gold.")} == {f"dbt_gold.{path.stem}" for path in MODELS}


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("wait_for_hour", "repair_gaps"),
        ("repair_gaps", "take_turn"),
        ("take_turn", "open_branch"),
        ("open_branch", "gate_bronze"),
        ("gate_bronze", "bronze_to_silver"),
        ("bronze_to_silver", "gate_silver"),
        ("gate_silver", "dbt_gold.stg_trades"),
        ("dbt_gold.ohlcv_1m", "dbt_gold.ohlcv_1h"),
        ("gate_gold", "publish"),
        ("publish", "give_turn_back"),
    ],
)
def test_one_task_waits_for_another(tasks: Mapping[str, Any], first: str, then: str):
    assert first in upstream_of(tasks, then)


def test_one_run_of_the_supervisor_is_always_active(bag: Bag):
    supervisor = bag["dags"]["streaming_supervisor"]
    watches = {name for name in supervisor["tasks"] if name.startswith("watch_")}

    assert (supervisor["timetable"], supervisor["max_active_runs"]) == ("ContinuousTimetable", 1)
    assert watches == {"watch_lag", "watch_commits", "watch_feeds", "watch_drift"}
    for name in watches:
        assert "bring_up" in upstream_of(supervisor["tasks"], name)
    for name in ("mend", "report", "tell_drift"):
        assert watches <= upstream_of(supervisor["tasks"], name)


def test_a_history_is_planned_once_and_fetched_beside_what_else_a_person_chooses(bag: Bag):
    control = bag["dags"]["streaming_control"]

    assert {name: task["upstream"] for name, task in control["tasks"].items()} == {
        "act": [],
        "wait_until_drained": ["act"],
        "stop_writer": ["wait_until_drained"],
        "plan_history": [],
        "fetch_history": ["plan_history"],
    }
    assert control["max_active_runs"] > 1


def test_dead_letters_are_listed_before_they_are_replayed_and_the_note_comes_last(bag: Bag):
    tasks = bag["dags"]["dead_letters"]["tasks"]

    assert {name: task["upstream"] for name, task in tasks.items()} == {
        "list_letters": [],
        "inspect_letters": ["list_letters"],
        "replay_letters": ["list_letters"],
        "name_hours": ["replay_letters"],
        "write_note": ["list_letters", "name_hours", "replay_letters"],
    }


def test_gold_is_judged_after_every_model(tasks: Mapping[str, Any]):
    assert {f"dbt_gold.{path.stem}" for path in MODELS} <= upstream_of(tasks, "gate_gold")


def test_a_table_is_announced_only_when_it_can_be_read(tasks: Mapping[str, Any]):
    announced = {name: task for name, task in tasks.items() if task["outlets"]}

    assert all("publish" in upstream_of(tasks, name) for name in announced)
    tables = {table.full_name for table in (*silver.TABLES, *gold.TABLES)}
    assert {outlet for task in announced.values() for outlet in task["outlets"]} == tables


def test_the_turn_is_given_back_however_the_hour_went_and_makes_no_run_green(tasks: Mapping[str, Any]):
    assert tasks["give_turn_back"]["is_teardown"]
    assert not tasks["give_turn_back"]["fails_dag_run"]
    assert [name for name, task in tasks.items() if task["is_setup"]] == ["take_turn", "open_branch"]


def test_no_python_lies_in_the_folder_that_would_shadow_airflow():
    assert list((CHECKOUT / "airflow").rglob("*.py")) == []

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from include.contracts import TABLES, gold, silver
from include.orchestration import announcing
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
        ("open_branch", "dbt_gold.stg_trades"),
        ("gate_silver", "dbt_gold.ohlcv_1m"),
        ("dbt_gold.ohlcv_1m", "dbt_gold.ohlcv_5m"),
        ("dbt_gold.ohlcv_1m", "dbt_gold.ohlcv_1h"),
        ("dbt_gold.ohlcv_1h", "dbt_gold.ohlcv_4h"),
        ("dbt_gold.ohlcv_1h", "dbt_gold.ohlcv_1d"),
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


def test_late_trades_are_looked_for_by_who_has_the_turn_and_asked_for_when_they_are_found(bag: Bag):
    tasks = bag["dags"]["late_trades"]["tasks"]

    assert {name: sorted(task["upstream"]) for name, task in tasks.items()} == {
        "take_turn": [],
        "find_late_trades": ["take_turn"],
        "rebuild_hours": ["find_late_trades"],
        "give_turn_back": ["find_late_trades", "take_turn"],
    }
    assert (tasks["take_turn"]["is_setup"], tasks["give_turn_back"]["is_teardown"]) == (True, True)


def test_a_rule_is_waived_by_a_person_and_the_hour_rebuilt_after_that(bag: Bag):
    tasks = bag["dags"]["waive_rule"]["tasks"]

    assert {name: sorted(task["upstream"]) for name, task in tasks.items()} == {
        "find_block": [],
        "ask_person": ["find_block"],
        "keep_waiver": ["ask_person", "find_block"],
        "rebuild_hour": ["keep_waiver"],
    }
    assert tasks["ask_person"]["retries"] == 0


def test_a_published_hour_is_looked_at_again_with_trino_where_the_profile_has_it(bag: Bag, standard_bag: Bag):
    look, standard = (each["dags"]["data_quality"] for each in (bag, standard_bag))

    assert look["timetable"] == "PartitionedAssetTimetable"
    assert set(look["tasks"]) == {"reconcile_candles", "judge_candles"}
    assert standard["tasks"].keys() - look["tasks"].keys() == {"audit_with_trino"}
    assert upstream_of(standard["tasks"], "audit_with_trino") == {"reconcile_candles", "judge_candles"}
    assert (standard_bag["import_errors"], standard_bag["loaded"]) == ({}, [])


def test_that_an_hour_is_mended_is_told_when_it_is_published(tasks: Mapping[str, Any]):
    assert "publish" in upstream_of(tasks, "tell_mended")


def test_a_branch_is_merged_by_who_has_the_turn_after_it_was_judged(bag: Bag):
    tasks = bag["dags"]["branches"]["tasks"]

    assert {name: sorted(task["upstream"]) for name, task in tasks.items()} == {
        "choose_action": [],
        "create_branch": ["choose_action"],
        "compare_branch": ["choose_action"],
        "drop_branch": ["choose_action"],
        "take_turn": ["choose_action"],
        "judge_branch": ["take_turn"],
        "merge_branch": ["judge_branch", "take_turn"],
        "give_turn_back": ["merge_branch", "take_turn"],
    }
    assert (tasks["take_turn"]["is_setup"], tasks["give_turn_back"]["is_teardown"]) == (True, True)


def test_silver_and_gold_are_maintained_by_who_has_the_turn_and_published_in_one_merge(bag: Bag):
    tasks = bag["dags"]["iceberg_maintenance"]["tasks"]
    by_turn = {f"by_turn.{table.layer}_{table.name}" for table in (*silver.TABLES, *gold.TABLES)}

    assert {name for name in tasks if name.startswith("by_turn.")} == by_turn
    assert all("open_branch" in upstream_of(tasks, name) for name in by_turn)
    assert by_turn <= upstream_of(tasks, "publish_maintenance")
    assert (tasks["take_turn"]["is_setup"], tasks["give_turn_back"]["is_teardown"]) == (True, True)
    assert not any("take_turn" in upstream_of(tasks, name) for name in tasks if name.startswith("beside_the_stream."))


def test_the_sweep_comes_after_all_that_makes_files_unreachable_and_before_days_are_tagged(bag: Bag):
    tasks = bag["dags"]["iceberg_maintenance"]["tasks"]
    tables = {name for name in tasks if name.startswith(("by_turn.", "beside_the_stream."))}

    assert len(tables) == len(TABLES)
    assert tables <= upstream_of(tasks, "sweep")
    assert "sweep" in upstream_of(tasks, "tag_days")


def test_every_table_is_announced_by_one_task(bag: Bag):
    announced = [
        outlet
        for dag_id in ("trades_hourly", "iceberg_maintenance")
        for task in bag["dags"][dag_id]["tasks"].values()
        for outlet in task["outlets"]
    ]

    assert sorted(announced) == sorted(table.full_name for table in TABLES)


def test_gold_is_judged_after_every_model(tasks: Mapping[str, Any]):
    assert {f"dbt_gold.{path.stem}" for path in MODELS} <= upstream_of(tasks, "gate_gold")


def test_a_table_is_announced_only_when_it_can_be_read(tasks: Mapping[str, Any]):
    announced = {name: task for name, task in tasks.items() if task["outlets"]}

    assert all("publish" in upstream_of(tasks, name) for name in announced)
    tables = {table.full_name for table in (*announcing.OF_HOURS, *silver.TABLES, *gold.TABLES)}
    assert {outlet for task in announced.values() for outlet in task["outlets"]} == tables


def test_the_assets_are_joined_from_topics_to_what_people_read(tasks: Mapping[str, Any]):
    made_from = {task["outlets"][0]: sorted(task["inlets"]) for task in tasks.values() if task["outlets"]}

    assert made_from["bronze.trades"] == ["bybit.raw.trades", "coinbase.raw.trades"]
    assert made_from["silver.trades"] == ["bronze.trades"]
    assert made_from["gold.ohlcv_1m"] == ["silver.product_hours", "silver.trade_gaps", "silver.trades"]
    assert made_from["gold.daily_metrics"] == ["gold.ohlcv_1m"]
    assert [table for table, inputs in made_from.items() if not inputs] == []


def test_no_two_tables_of_an_hour_are_announced_by_one_task(tasks: Mapping[str, Any]):
    assert [name for name, task in tasks.items() if len(task["outlets"]) > 1] == []


def test_the_turn_is_given_back_however_the_hour_went_and_makes_no_run_green(tasks: Mapping[str, Any]):
    assert tasks["give_turn_back"]["is_teardown"]
    assert not tasks["give_turn_back"]["fails_dag_run"]
    assert [name for name, task in tasks.items() if task["is_setup"]] == ["take_turn", "open_branch"]


def test_no_python_lies_in_the_folder_that_would_shadow_airflow():
    assert list((CHECKOUT / "airflow").rglob("*.py")) == []


def test_requests_to_rebuild_hours_wait_in_line(bag: Bag):
    queue = bag["dags"]["rebuild_hours"]

    assert (queue["max_active_runs"], list(queue["tasks"])) == (1, ["rebuild_range"])
    assert queue["timetable"] == "NullTimetable"


def test_airflow_is_cleaned_once_a_day_by_one_run(bag: Bag):
    cleanup = bag["dags"]["airflow_cleanup"]

    assert (cleanup["max_active_runs"], cleanup["catchup"]) == (1, False)
    assert {name: task["upstream"] for name, task in cleanup["tasks"].items()} == {
        "clean_logs": [],
        "clean_records": [],
    }

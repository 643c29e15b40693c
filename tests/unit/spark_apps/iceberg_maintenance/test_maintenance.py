from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from include.contracts import archive, bronze, silver
from include.contracts.table import Table
from spark_apps.iceberg_maintenance.archive import put_away
from spark_apps.iceberg_maintenance.job import Job, maintain
from tests.unit.spark_apps.conftest import as_dicts, received, traded

pytestmark = [pytest.mark.unit, pytest.mark.timeout(300)]

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ARCHIVE = archive.archive_of(bronze.TRADES)


def job(table: Table, report: Path, **changes: Any) -> Job:
    given = {
        "as_of": datetime.now(UTC) + timedelta(minutes=1),
        "settled_before": NOON,
        "bronze_kept": None,
        "time_travel": timedelta(days=7),
    }
    return Job(table=table, report=report, **(given | changes))


def test_hours_of_silver_are_laid_together_and_every_row_stays(spark, tables, commit, tmp_path):
    tables(silver.TRADES)
    for hour in range(6):
        commit(silver.TRADES, traded(hour, NOON + timedelta(hours=hour)), traded(10 + hour, NOON, "ETH-USD"))
    before = as_dicts(spark.table("lake.silver.trades"))

    report = maintain(spark, "lake", job(silver.TRADES, tmp_path))

    assert (report["before"]["files"], report["after"]["files"]) == (12, 2)
    assert report["before"]["rows"] == report["after"]["rows"] == 12
    assert as_dicts(spark.table("lake.silver.trades")) == before


def test_of_a_stream_only_what_came_in_hours_that_are_over_is_laid_together(spark, tables, commit, tmp_path):
    tables(bronze.TRADES)
    for offset in range(10):
        commit(bronze.TRADES, received(offset, NOON - timedelta(seconds=offset + 1)))
    for offset in range(10, 20):
        commit(bronze.TRADES, received(offset, NOON + timedelta(seconds=offset)))

    report = maintain(spark, "lake", job(bronze.TRADES, tmp_path, as_of=NOON))

    assert (report["before"]["files"], report["after"]["files"]) == (20, 11)
    assert report["after"]["rows"] == 20


def test_a_second_run_finds_nothing_to_do(spark, tables, commit, tmp_path):
    tables(silver.TRADES)
    for hour in range(3):
        commit(silver.TRADES, traded(hour, NOON + timedelta(hours=hour)))
    maintain(spark, "lake", job(silver.TRADES, tmp_path))
    snapshots = spark.table("lake.silver.trades.snapshots").count()

    again = maintain(spark, "lake", job(silver.TRADES, tmp_path))

    assert again["files_compacted"] == again["manifests_merged"] == again["snapshots_expired"] == 0
    assert spark.table("lake.silver.trades.snapshots").count() == snapshots


def test_old_snapshots_go_from_the_history_and_their_files_stay(spark, tables, commit, tmp_path):
    tables(silver.TRADES)
    for hour in range(3):
        commit(silver.TRADES, traded(hour, NOON + timedelta(hours=hour)))
    files = [Path(row["file_path"].removeprefix("file:")) for row in spark.table("lake.silver.trades.files").collect()]

    report = maintain(spark, "lake", job(silver.TRADES, tmp_path, as_of=datetime.now(UTC) + 8 * DAY))

    assert report["snapshots_expired"] == 3
    assert report["after"]["snapshots"] == 1
    assert [path for path in files if not path.exists()] == []


def test_a_table_whose_snapshots_nobody_else_may_expire_stays_one(spark, tables, commit, tmp_path):
    tables(silver.TRADES)
    spark.sql("alter table lake.silver.trades set tblproperties ('gc.enabled' = 'false')")
    for hour in range(2):
        commit(silver.TRADES, traded(hour, NOON + timedelta(hours=hour)))

    report = maintain(spark, "lake", job(silver.TRADES, tmp_path, as_of=datetime.now(UTC) + 8 * DAY))

    assert report["snapshots_expired"] == 2
    properties = {row["key"]: row["value"] for row in spark.sql("show tblproperties lake.silver.trades").collect()}
    assert properties["gc.enabled"] == "false"


def test_a_table_without_rows_is_maintained(spark, tables, tmp_path):
    tables(bronze.TRADES, ARCHIVE)

    report = maintain(spark, "lake", job(bronze.TRADES, tmp_path))

    assert report["before"] | {"query_s": 0} == report["after"] | {"query_s": 0}


def test_days_past_their_retention_are_in_the_archive_and_not_in_bronze(spark, tables, commit, tmp_path):
    tables(bronze.TRADES, ARCHIVE)
    commit(bronze.TRADES, received(1, NOON - 2 * DAY), received(2, NOON - DAY), received(3, NOON))

    report = maintain(spark, "lake", job(bronze.TRADES, tmp_path, as_of=NOON + 30 * DAY, bronze_kept=30 * DAY))

    assert report["rows_archived"] == 2
    assert offsets(spark, ARCHIVE) == [1, 2]
    assert offsets(spark, bronze.TRADES) == [3]


def test_a_day_is_kept_until_all_of_it_is_past_its_retention(spark, tables, commit):
    tables(bronze.TRADES, ARCHIVE)
    commit(bronze.TRADES, received(1, NOON))

    assert put_away(spark, "lake", bronze.TRADES, NOON + timedelta(hours=11)) == 0
    assert put_away(spark, "lake", bronze.TRADES, NOON + timedelta(hours=12)) == 1


def test_a_day_of_which_a_killed_run_has_archived_a_part_is_archived_once(spark, tables, commit):
    tables(bronze.TRADES, ARCHIVE)
    commit(bronze.TRADES, received(1, NOON), received(2, NOON))
    commit(ARCHIVE, received(1, NOON))

    assert put_away(spark, "lake", bronze.TRADES, NOON + 2 * DAY) == 1
    assert offsets(spark, ARCHIVE) == [1, 2]
    assert offsets(spark, bronze.TRADES) == []


def test_what_comes_to_a_day_that_is_archived_already_follows_it(spark, tables, commit):
    tables(bronze.TRADES, ARCHIVE)
    commit(bronze.TRADES, received(1, NOON))
    put_away(spark, "lake", bronze.TRADES, NOON + 2 * DAY)
    commit(bronze.TRADES, received(2, NOON))

    assert put_away(spark, "lake", bronze.TRADES, NOON + 2 * DAY) == 1
    assert offsets(spark, ARCHIVE) == [1, 2]


def offsets(spark: SparkSession, table: Table) -> list[int]:
    rows = spark.table(f"lake.{table.full_name}").select("_kafka_offset").collect()
    return sorted(row["_kafka_offset"] for row in rows)

"""Retention: whole days that Bronze no longer keeps go to the archive, and only then from Bronze."""

from __future__ import annotations

import logging
from datetime import date, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from include.contracts.archive import archive_of
from include.contracts.bronze import ARRIVED
from include.contracts.table import Table
from spark_apps.upkeep.table import each

log = logging.getLogger(__name__)


def put_away(spark: SparkSession, catalog: str, table: Table, before: datetime) -> int:
    """Move the days that ended before a moment to the table's archive; return how many rows.

    It goes by the files of one snapshot: those are read, and exactly those are taken out of the table, whatever a
    stream adds to the same day meanwhile. Cut off in between, the next run finds the rows in both tables, adds none
    twice, and goes on.
    """
    name, archive = f"{catalog}.{table.full_name}", f"{catalog}.{archive_of(table).full_name}"
    days = spark.sql(
        f"select distinct partition.{ARRIVED}_day as day from {name}.files where partition.{ARRIVED}_day "
        f"< date '{before:%Y-%m-%d}' order by day"
    )
    moved = 0
    for row in days.collect():
        moved += _put_day_away(spark, table, name, archive, row["day"])
    return moved


def _put_day_away(spark: SparkSession, table: Table, name: str, archive: str, day: date) -> int:
    java: Any = spark._jvm
    iceberg = java.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, name)
    snapshot_id = iceberg.currentSnapshot().snapshotId()
    rows = spark.sql(f"select * from {name} version as of {snapshot_id} where {_within(day)}")
    new = _new(rows, spark.table(archive).where(_within(day)), table)
    count = new.count()
    if count:
        new.writeTo(archive).append()
    files = _take_out(java, iceberg, snapshot_id, day)
    log.info("put away", extra={"table": table.full_name, "day": str(day), "rows": count, "files": files})
    return count


def _within(day: date) -> str:
    start = f"timestamp '{day} 00:00:00+00:00'"
    return f"{ARRIVED} >= {start} and {ARRIVED} < {start} + interval 1 day"


def _new(rows: DataFrame, archived: DataFrame, table: Table) -> DataFrame:
    """Return the rows that are not archived yet: all of them, unless an earlier run was cut off."""
    if archived.limit(1).count() == 0:
        return rows
    return rows.join(archived.select(*table.grain), list(table.grain), "left_anti").select(*table.column_names)


def _take_out(java: Any, iceberg: Any, snapshot_id: int, day: date) -> int:  # noqa: ANN401 (Java's objects)
    """Take a day's files, as of a snapshot, out of the table in one commit; return how many.

    SQL deletes by rows, those included that have come since. Files are given as Iceberg's objects: for a path as text
    py4j finds another method of that name, which deletes the file itself.
    """
    expressions = java.org.apache.iceberg.expressions.Expressions
    since = expressions.greaterThanOrEqual(ARRIVED, f"{day}T00:00:00+00:00")
    until = expressions.lessThan(ARRIVED, f"{day + timedelta(days=1)}T00:00:00+00:00")
    planned = iceberg.newScan().useSnapshot(snapshot_id).filter(since).filter(until).planFiles()
    delete, count = iceberg.newDelete(), 0
    for task in each(planned):
        delete.deleteFile(task.file())
        count += 1
    planned.close()
    delete.commit()
    return count

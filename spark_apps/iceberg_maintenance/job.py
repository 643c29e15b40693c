"""Maintain one Iceberg table: few files, few manifests, a short history, and in Bronze no more than its retention.

    spark-submit spark_apps/iceberg_maintenance/job.py --table bronze.trades --as-of <moment> --report report.json

Silver and Gold are maintained on the branch that `--conf spark.sql.catalog.lake.ref=<branch>` names.

Rows stay what they are: Bronze's go to the archive when their time has come, all others lie in other files. Files that
nothing needs any more stay too, for another branch may need them: a sweep over all branches and tags deletes those.
Each step does nothing where it was done before, so a run that was killed is simply run again.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from include.contracts import table as table_of
from include.contracts.table import Table
from include.logs import log_as_json
from include.settings import Settings
from spark_apps.iceberg_maintenance.archive import put_away
from spark_apps.iceberg_maintenance.files import Files
from spark_apps.upkeep.table import Upkeep

log = logging.getLogger("iceberg_maintenance")

MANY_MANIFESTS = 20
"""Once a day fewer are worth a commit than once an hour."""


@dataclass(frozen=True, slots=True)
class Job:
    """One table to maintain.

    Args:
        as_of: The moment from which ages count.
        settled_before: Of a streamed table, what arrived at this time or later is left alone.
        bronze_kept: How long rows stay in a table that has a retention; None: as its contract says.
        time_travel: How old a snapshot may become.
        report: Where to write what was found and done, as JSON.
    """

    table: Table
    as_of: datetime
    settled_before: datetime
    bronze_kept: timedelta | None
    time_travel: timedelta
    report: Path

    @property
    def kept(self) -> timedelta | None:
        """How long the table's rows stay in it; None: for ever."""
        return self.table.retention and (self.bronze_kept or self.table.retention)


def maintain(spark: SparkSession, catalog: str, job: Job) -> dict[str, Any]:
    """Maintain one table; return how it was before and after, and what was done.

    Raises:
        RowsChangedError: If a compaction did not leave every row; what it wrote must not be published.
    """
    files = Files(spark, catalog, job.table)
    upkeep = Upkeep(spark, catalog, job.table)
    before = files.measure()
    done = {}
    if job.kept is not None:
        done["rows_archived"] = put_away(spark, catalog, job.table, job.as_of - job.kept)
    done["files_compacted"] = files.compact(job.settled_before)
    upkeep.refresh()
    done["manifests_merged"] = upkeep.merge_manifests(many=MANY_MANIFESTS)
    if not job.table.streamed:
        # Of streamed tables an hourly job expires them, much sooner.
        done["snapshots_expired"] = upkeep.expire_snapshots(job.as_of - job.time_travel)
    return {"table": job.table.full_name, "before": before, "after": files.measure(), **done}


def arguments(words: Sequence[str]) -> Job:
    """Read the command line."""
    settings = Settings.load()
    parser = argparse.ArgumentParser(prog="iceberg_maintenance", description="Maintain one Iceberg table.")
    parser.add_argument("--table", required=True, type=table_of, help="like silver.trades")
    parser.add_argument("--as-of", required=True, type=_moment, help="the moment from which ages count, ISO 8601")
    parser.add_argument("--settled-before", type=_moment, help="of streamed tables; else the hour of --as-of")
    parser.add_argument("--report", required=True, type=Path, help="where to write what was done")
    given = parser.parse_args(words)
    hour = given.as_of.replace(minute=0, second=0, microsecond=0)
    return Job(
        table=given.table,
        as_of=given.as_of,
        settled_before=given.settled_before or hour,
        bronze_kept=settings.bronze_kept,
        time_travel=settings.time_travel,
        report=given.report,
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def main() -> int:
    """Maintain the table; return the exit code."""
    log_as_json()
    job = arguments(sys.argv[1:])
    spark = SparkSession.builder.appName(f"iceberg-maintenance-{job.table.full_name}").getOrCreate()
    report = maintain(spark, Settings.load().catalog, job)
    log.info("table maintained", extra=report)
    job.report.write_text(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

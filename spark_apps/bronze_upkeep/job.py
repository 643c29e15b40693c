"""Keep the streamed tables small: at a commit every ten seconds a day makes 8,640 snapshots and as many manifests.

    spark-submit spark_apps/bronze_upkeep/job.py [bronze.trades …]

Without names, all streamed tables. Of each it merges the manifests, drops old snapshots from the metadata, and deletes
old metadata files. Data files stay, and all that any branch or tag points to, so readers notice nothing. Once a day
`iceberg_maintenance` does the rest: it compacts, and deletes what nothing points to.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pyspark.sql import SparkSession

from include.contracts import TABLES
from include.contracts.table import Table
from include.logs import log_as_json
from include.settings import Settings
from spark_apps.upkeep.table import Upkeep

log = logging.getLogger("bronze_upkeep")

KEEP = timedelta(hours=2)
"""How long snapshots and metadata files stay after they were replaced: longer than any query runs."""


def keep_small(upkeep: Upkeep, now: datetime) -> dict[str, int]:
    """Do all that keeps one table small; return what was done."""
    return {
        "manifests_merged": upkeep.merge_manifests(),
        "snapshots_expired": upkeep.expire_snapshots(now - KEEP),
        "metadata_files_deleted": upkeep.delete_metadata_files(now - KEEP),
    }


def tables(names: Sequence[str]) -> list[Table]:
    """Return the streamed tables of these names, or all.

    Raises:
        ValueError: If a name is not that of a streamed table.
    """
    streamed = {table.full_name: table for table in TABLES if table.streamed}
    unknown = set(names) - set(streamed)
    if unknown:
        raise ValueError(f"no streamed table {', '.join(sorted(unknown))}; there are {', '.join(streamed)}")
    return [streamed[name] for name in names or streamed]


def main() -> int:
    """Look after the tables; return the exit code."""
    log_as_json()
    parser = argparse.ArgumentParser(prog="bronze_upkeep", description="Keep the streamed tables small.")
    parser.add_argument("tables", nargs="*", help="like bronze.trades; all streamed tables if none is given")
    try:
        chosen = tables(parser.parse_args().tables)
    except ValueError as mistake:
        parser.error(str(mistake))
    spark = SparkSession.builder.appName("bronze-upkeep").getOrCreate()
    catalog = Settings.load().catalog
    for table in chosen:
        done = keep_small(Upkeep(spark, catalog, table), datetime.now(UTC))
        log.info("table kept small", extra={"table": table.full_name, **done})
    return 0


if __name__ == "__main__":
    sys.exit(main())

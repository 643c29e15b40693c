"""Run Bronze's upkeep as if its clock were a day ahead, and as if few manifests were many.

spark-submit tests/drivers/later_upkeep.py bronze.trades
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from pyspark.sql import SparkSession

from include.settings import Settings
from spark_apps.bronze_upkeep import job


def main() -> None:
    """Look after the tables that are named, and print what was done."""
    job.MANY_MANIFESTS = 2
    spark = SparkSession.builder.appName("later-upkeep").getOrCreate()
    for table in job.tables(sys.argv[1:]):
        upkeep = job.Upkeep(spark, Settings.load().catalog, table)
        print(table.full_name, job.keep_small(upkeep, datetime.now(UTC) + timedelta(days=1)))


if __name__ == "__main__":
    main()

"""Run Bronze's upkeep as if its clock were a day ahead, and as if few manifests were many.

spark-submit tests/drivers/later_upkeep.py bronze.trades
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from pyspark.sql import SparkSession

from include.settings import Settings
from spark_apps.bronze_upkeep import job
from spark_apps.upkeep import table


def main() -> None:
    """Look after the tables that are named, and print what was done."""
    table.MANY_MANIFESTS = 2
    spark = SparkSession.builder.appName("later-upkeep").getOrCreate()
    for contract in job.tables(sys.argv[1:]):
        upkeep = table.Upkeep(spark, Settings.load().catalog, contract)
        print(contract.full_name, job.keep_small(upkeep, datetime.now(UTC) + timedelta(days=1)))


if __name__ == "__main__":
    main()

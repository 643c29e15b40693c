"""An hour whose Bronze was put away keeps what was published of it."""

from datetime import timedelta

import pytest

from include.contracts import archive, bronze, silver
from spark_apps.bronze_to_silver.job import HourWouldShrinkError, Job, Lake, build
from spark_apps.iceberg_maintenance.archive import put_away
from tests.unit.spark_apps.conftest import NINE, received, traded

pytestmark = [pytest.mark.unit, pytest.mark.timeout(300)]

READ = (bronze.TRADES, bronze.INGESTION_PROGRESS, bronze.INGESTION_EVENTS)


def test_an_hour_is_not_built_again_from_a_bronze_that_no_longer_holds_it(spark, tables, commit):
    tables(*READ, *silver.TABLES, archive.archive_of(bronze.TRADES))
    commit(bronze.TRADES, received(1, NINE) | {"time": "2026-11-20T09:00:01Z"})
    commit(silver.TRADES, traded(1, NINE + timedelta(seconds=1)))
    put_away(spark, "lake", bronze.TRADES, NINE + timedelta(days=1))
    hour = Job(NINE, expected=(), late_after=timedelta(minutes=5), may_shrink=False)

    with pytest.raises(HourWouldShrinkError, match=r"1 trades that silver\.trades has of 2026-11-20T09"):
        build(Lake(spark, "lake"), hour)

    assert [row["trade_ref"] for row in spark.table("lake.silver.trades").collect()] == ["1"]
    assert spark.table("lake.archive.trades").count() == 1

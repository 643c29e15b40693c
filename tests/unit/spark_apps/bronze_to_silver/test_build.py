"""An hour is replaced in all of Silver, and nothing is committed for nothing."""

from datetime import timedelta

import pytest

from include.contracts import bronze, silver
from spark_apps.bronze_to_silver.job import Job, Lake, build
from tests.unit.spark_apps.conftest import NINE, received

pytestmark = [pytest.mark.unit, pytest.mark.timeout(300)]

READ = (bronze.TRADES, bronze.INGESTION_PROGRESS, bronze.INGESTION_EVENTS)


def trade(offset, time):
    return received(offset, NINE) | {"price": "1", "size": "1", "side": "buy", "time": time}


def commits(spark, table):
    return spark.table(f"lake.{table.full_name}.snapshots").count()


def test_an_hour_that_is_built_again_has_what_came_since_and_other_hours_stay(spark, tables, commit):
    tables(*READ, *silver.TABLES)
    lake = Lake(spark, "lake")
    nine = Job(NINE, expected=(), late_after=timedelta(minutes=5), may_shrink=False)
    ten = Job(NINE + timedelta(hours=1), expected=(), late_after=timedelta(minutes=5), may_shrink=False)
    commit(bronze.TRADES, trade(1, "2026-11-20T09:00:01Z"))
    commit(bronze.TRADES, trade(2, "2026-11-20T10:00:01Z"))

    assert build(lake, nine)[silver.TRADES.full_name] == 1
    assert build(lake, ten)[silver.TRADES.full_name] == 1
    commit(bronze.TRADES, trade(3, "2026-11-20T09:00:02Z"))
    assert build(lake, nine)[silver.TRADES.full_name] == 2

    rows = spark.table("lake.silver.trades").orderBy("trade_ref").collect()
    assert [row["trade_ref"] for row in rows] == ["1", "2", "3"]


def test_nothing_is_committed_to_a_table_that_has_no_rows_of_the_hour(spark, tables, commit):
    tables(*READ, *silver.TABLES)
    hour = Job(NINE, expected=(), late_after=timedelta(minutes=5), may_shrink=False)
    commit(bronze.TRADES, trade(1, "2026-11-20T09:00:01Z"))

    build(Lake(spark, "lake"), hour)

    assert (commits(spark, silver.TRADES), commits(spark, silver.TRADES_QUARANTINE)) == (1, 0)


class Reading(Lake):
    """A lake that remembers which tables were read."""

    def __init__(self, spark):
        super().__init__(spark, "lake")
        self.tables = []

    def read(self, table):
        self.tables.append(table)
        return super().read(table)


@pytest.mark.parametrize(("ids", "asks"), [((1, 2), False), ((1, 3), True)])
def test_what_the_producers_told_is_read_only_for_an_hour_with_a_hole(spark, tables, commit, ids, asks):
    tables(*READ, *silver.TABLES)
    hour = Job(NINE, expected=(), late_after=timedelta(minutes=5), may_shrink=False)
    commit(bronze.TRADES, *(trade(number, f"2026-11-20T09:00:0{number}Z") for number in ids))
    lake = Reading(spark)

    gaps = build(lake, hour)[silver.TRADE_GAPS.full_name]

    assert (bronze.INGESTION_EVENTS in lake.tables, gaps) == (asks, int(asks))

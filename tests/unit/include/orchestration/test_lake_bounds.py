"""Which rows belong to an hour, in pyiceberg's words."""

from datetime import UTC, datetime

import pytest
from pyiceberg.expressions.parser import parse

from include.contracts import TABLES, bronze, gold, silver
from include.contracts.table import Table
from include.orchestration.hours import Hour
from include.orchestration.lake import within

pytestmark = pytest.mark.unit

LAST_OF_DAY = Hour(datetime(2026, 11, 20, 23, tzinfo=UTC))


def test_an_instant_lies_between_two_instants():
    assert within(silver.TRADES, LAST_OF_DAY) == (
        "trade_time >= '2026-11-20T23:00:00.000000+00:00' and trade_time < '2026-11-21T00:00:00.000000+00:00'"
    )


def test_exchange_time_as_received_is_compared_as_text():
    assert within(bronze.TRADES, LAST_OF_DAY) == "time >= '2026-11-20T23' and time < '2026-11-21T00'"


def test_a_table_of_wide_windows_gives_the_one_that_encloses_the_hour():
    nine = Hour(LAST_OF_DAY.start.replace(hour=9))

    assert within(gold.OHLCV_4H, nine) == (
        "window_start >= '2026-11-20T08:00:00.000000+00:00' and window_start < '2026-11-20T12:00:00.000000+00:00'"
    )
    assert within(gold.OHLCV_1D, LAST_OF_DAY) == (
        "window_start >= '2026-11-20T00:00:00.000000+00:00' and window_start < '2026-11-21T00:00:00.000000+00:00'"
    )


def test_a_table_by_days_gives_the_whole_day():
    assert within(gold.DAILY_METRICS, LAST_OF_DAY) == "date >= '2026-11-20' and date < '2026-11-21'"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.full_name)
def test_pyiceberg_reads_the_bounds_of_every_table(table: Table):
    parse(within(table, LAST_OF_DAY))

"""Looking at a published hour through another engine than those that made and judged it."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk.exceptions import AirflowFailException

from include.contracts import gold, silver
from include.settings import Settings

PRODUCT = ", ".join(silver.PRODUCT)
START = "from_iso8601_timestamp('{{ dag_run.partition_key }}:00:00Z')"


def unequal(catalog: str) -> str:
    """Ask for products of which an hour's trades, minutes and candle do not agree, or whose minutes are not sixty."""
    return f"""
WITH trades AS (
    SELECT {PRODUCT}, count(*) AS trade_count, sum(size) AS volume, max(price) AS high, min(price) AS low
    FROM {catalog}.{silver.TRADES.full_name}
    WHERE trade_time >= {START} AND trade_time < {START} + INTERVAL '1' HOUR
    GROUP BY {PRODUCT}
),
minutes AS (
    SELECT {PRODUCT}, count(*) AS minute_count, count(DISTINCT window_start) AS distinct_count,
        sum(trade_count) AS trade_count, sum(volume) AS volume, max(high) AS high, min(low) AS low
    FROM {catalog}.{gold.OHLCV_1M.full_name}
    WHERE window_start >= {START} AND window_start < {START} + INTERVAL '1' HOUR
    GROUP BY {PRODUCT}
),
hours AS (
    SELECT {PRODUCT}, trade_count, volume, high, low
    FROM {catalog}.{gold.OHLCV_1H.full_name}
    WHERE window_start = {START}
)
SELECT {PRODUCT}, trades.trade_count, minutes.minute_count, minutes.trade_count, hours.trade_count,
    trades.volume, minutes.volume, hours.volume
FROM minutes
FULL JOIN trades USING ({PRODUCT})
FULL JOIN hours USING ({PRODUCT})
WHERE coalesce(minutes.minute_count, 0) != 60
    OR minutes.distinct_count != 60
    OR minutes.trade_count IS DISTINCT FROM coalesce(trades.trade_count, 0)
    OR minutes.trade_count IS DISTINCT FROM hours.trade_count
    OR minutes.volume IS DISTINCT FROM coalesce(trades.volume, DECIMAL '0')
    OR minutes.volume IS DISTINCT FROM hours.volume
    OR minutes.high IS DISTINCT FROM trades.high
    OR minutes.high IS DISTINCT FROM hours.high
    OR minutes.low IS DISTINCT FROM trades.low
    OR minutes.low IS DISTINCT FROM hours.low
"""


def audit_with_trino(settings: Settings) -> SQLExecuteQueryOperator:
    """Ask Trino, as readers do, whether the tables of the hour agree with each other; fail naming what does not."""
    return SQLExecuteQueryOperator(
        task_id="audit_with_trino",
        conn_id="trino_default",
        sql=unequal(settings.catalog),
        handler=none,
        split_statements=False,
    )


def none(cursor: Any) -> list[Any]:  # noqa: ANN401 (any engine's cursor)
    """Return a query's rows, which are to be none.

    Raises:
        AirflowFailException: If there are any; asking again would find the same.
    """
    found = list(cursor.fetchall())
    if found:
        listed = "\n".join(str(tuple(map(str, row))) for row in found[:5])
        raise AirflowFailException(
            f"{len(found)} products do not agree with themselves, as Trino reads them:\n{listed}"
        )
    return found

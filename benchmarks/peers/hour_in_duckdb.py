"""An hour of Silver in DuckDB: `hour_in_duckdb.py HOUR HOUR_AFTER OUT FILE…`, the files being Bronze's.

Trades go to OUT, in order; rows that break a rule beside it, as received.
"""

from __future__ import annotations

import sys

import duckdb
from measured import timed

HOUR, HOUR_AFTER, OUT, *FILES = sys.argv[1:]
RECEIVED = f"(from read_parquet({FILES!r}) where time >= '{HOUR}' and time < '{HOUR_AFTER}')"
NUMBER = r"'-?\d+(\.\d{0,8}0*)?'"

JUDGED = f"""
create temp table judged as
with typed as (
    select
        venue, market, product_id, try_cast(trade_id as bigint) as trade_id, trade_id as trade_ref, sequence,
        _frame_index,
        case when regexp_full_match(price, {NUMBER}) then try_cast(price as decimal(18, 8)) end as price,
        case when regexp_full_match(size, {NUMBER}) then try_cast(size as decimal(18, 8)) end as size,
        case side when 'buy' then 'sell' when 'sell' then 'buy' end as side,
        try_cast(time as timestamptz) as trade_time, _ingested_at as ingested_at,
        epoch_us(_ingested_at) - epoch_us(trade_time) as age,
        _source = 'ws' and age > 300000000 as _is_late_arrival, age // 1000 as _source_latency_ms,
        _kafka_topic, _kafka_partition, _kafka_offset
    from {RECEIVED}
)
select *, coalesce(
    trade_time is not null and trade_id is not null and side is not null and price > 0 and size > 0, false
) as is_good
from typed
"""
TRADES = f"""
copy (
    select * exclude (age, is_good, _kafka_topic, _kafka_partition, _kafka_offset) from judged where is_good
    qualify row_number() over (
        partition by venue, market, product_id, trade_ref order by _kafka_topic, _kafka_partition, _kafka_offset
    ) = 1
    order by product_id, trade_time
) to '{OUT}' (format parquet, compression zstd)
"""
OFFSET = "_kafka_topic, _kafka_partition, _kafka_offset"
BROKEN = f"""
copy (
    from {RECEIVED} as received
    semi join (from judged where not is_good) as broken using ({OFFSET})
) to '{OUT}.broken' (format parquet, compression zstd)
"""


def build() -> None:
    """Read and judge, keep the first of copies, sort and write; the broken rows are read again, if there are any."""
    with duckdb.connect() as connection:
        connection.execute(JUDGED)
        connection.execute(TRADES)
        if connection.execute("select count(*) from judged where not is_good").fetchone() != (0,):
            connection.execute(BROKEN)


timed(build)

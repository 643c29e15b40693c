"""An hour of Silver in Polars: `hour_in_polars.py HOUR HOUR_AFTER OUT FILE…`, the files being Bronze's.

Trades go to OUT, in order; rows that break a rule beside it, as received.
"""

from __future__ import annotations

import sys

import polars as pl
from measured import timed

HOUR, HOUR_AFTER, OUT, *FILES = sys.argv[1:]
GRAIN = ["venue", "market", "product_id", "trade_ref"]
OFFSET = ["_kafka_topic", "_kafka_partition", "_kafka_offset"]
COLUMNS = (
    "venue", "market", "product_id", "trade_id", "trade_ref", "sequence", "_frame_index", "price", "size", "side",
    "trade_time", "ingested_at", "_is_late_arrival", "_source_latency_ms",
)  # fmt: skip
NUMBER = r"^-?\d+(\.\d{0,8}0*)?$"


def number(name: str) -> pl.Expr:
    """Read a number that has a place for each of its digits."""
    text = pl.col(name)
    return pl.when(text.str.contains(NUMBER)).then(text).cast(pl.Decimal(18, 8), strict=False)


TYPED = {
    "trade_id": pl.col("trade_id").cast(pl.Int64, strict=False),
    "trade_ref": pl.col("trade_id"),
    "price": number("price"),
    "size": number("size"),
    "side": pl.col("side").replace_strict({"buy": "sell", "sell": "buy"}, default=None),
    "trade_time": pl.col("time")
    .str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)
    .dt.replace_time_zone("UTC"),
    "ingested_at": pl.col("_ingested_at"),
}


def build() -> None:
    """Read, judge, keep the first of copies, sort and write."""
    received = pl.scan_parquet(FILES).filter(pl.col("time").is_between(pl.lit(HOUR), pl.lit(HOUR_AFTER), "left"))
    age = pl.col("ingested_at") - pl.col("trade_time")
    is_whole = pl.all_horizontal(pl.col("trade_time", "trade_id", "side").is_not_null())
    typed = received.select(
        *("venue", "market", "product_id", "sequence", "_frame_index", *OFFSET),
        *(value.alias(name) for name, value in TYPED.items()),
        _source="_source",
        received=pl.struct(pl.all()),
    )
    judged = typed.with_columns(
        _is_late_arrival=(pl.col("_source") == "ws") & (age > pl.duration(minutes=5)),
        _source_latency_ms=age.dt.total_milliseconds(),
        is_good=(is_whole & pl.all_horizontal(pl.col("price", "size") > 0)).fill_null(value=False),
    )
    trades = judged.filter("is_good").sort(OFFSET).unique(GRAIN, keep="first").sort("product_id", "trade_time")
    broken = judged.filter(~pl.col("is_good")).select("received").unnest("received")
    for rows, path in zip(pl.collect_all([trades.select(COLUMNS), broken]), (OUT, f"{OUT}.broken"), strict=True):
        rows.write_parquet(path, compression="zstd")


timed(build)

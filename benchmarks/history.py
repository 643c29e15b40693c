"""As many hours as a benchmark wants of the recorded trades, in Bronze and Silver as an hour leaves them.

The recording goes on as the exchange's stand-in plays it: a cycle whose ids and times rise. A file of Bronze holds an
hour, or a part of one, in the order in which its trades came; a file of Silver the same of one product. Started by
spark-submit it writes them, as `write` asks it to: `history.py RECORDING PAST`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import polars as pl
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.lake import Spent, submit
from include.contracts import bronze, silver
from include.contracts.topics import COINBASE_TRADES
from include.renderers.spark import select_columns
from include.settings import Settings
from spark_apps.bronze_to_silver import transforms
from stack.replica.recordings import DEFAULT_RECORDING, HOUR, MINUTE, Play, read_recording
from tests.drivers.running_stack import RunningStack

FIRST_ID = 1_000_000_000
RECORDED_HOURS = 3
CYCLE = RECORDED_HOURS * HOUR
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
CHOICES = {"LAKE_PRODUCTS": ",".join(PRODUCTS)}
"""Of the stack that holds it: what is followed, so that the evidence is whole."""
PLAIN = "benchmark.trades"
"""The rows of Silver in a table that has nothing but Spark's and Iceberg's defaults."""
FRAME = (
    ("trade_id", '{"type":"match","trade_id":'),
    ("maker_order_id", ',"maker_order_id":"'),
    ("taker_order_id", '","taker_order_id":"'),
    ("side", '","side":"'),
    ("size", '","size":"'),
    ("price", '","price":"'),
    ("product_id", '","product_id":"'),
    ("sequence", '","sequence":'),
    ("time", ',"time":"'),
)
"""A match as the exchange writes it: each field, and what stands before its value."""
LATENCY_US, JITTER_US, KAFKA_US = 44_000, 30_000, 4_000
"""From the exchange to us, how much it varies, and from us to Kafka at most."""


@dataclass(frozen=True, slots=True)
class Past:
    """Hours to write.

    Args:
        first: The start of the first, seconds since 1970.
        hours: How many.
        copies: How often each recorded trade happens, each time under an id of its own.
        parts: How many files of Bronze hold an hour.
        shares_orders: Whether the trades of a product at one moment have one taker order, as they mostly do on the
            exchange; else each has one of its own, as the stand-in writes them.
        tables: What is written beside Bronze: Silver, the plain table.
    """

    first: int
    hours: int
    copies: int = 1
    parts: int = 1
    shares_orders: bool = False
    tables: tuple[str, ...] = (silver.TRADES.full_name,)


def write(stack: RunningStack, ref: str, past: Past) -> Spent:
    """Write hours to a branch that has none; return what that took."""
    recording = stack.state / "recording"
    if not recording.exists():
        recording.mkdir()
        plays = read_recording(DEFAULT_RECORDING).plays
        _facts(plays).write_parquet(recording / "trades.parquet")
        _progress(plays).write_parquet(recording / "progress.parquet")
    return submit(stack, ref, "--driver-memory", "2g", __file__, str(recording), json.dumps(asdict(past)))


def _facts(plays: Iterable[Play]) -> pl.DataFrame:
    """Give the recorded trades as they came, counted from the first of their product and from the first hour."""
    trades = pl.DataFrame(
        [(t.product_id, t.trade_id, t.time, t.price, t.size, t.side, t.sequence) for t in (p.trade for p in plays)],
        schema=("product_id", "id", "at_us", "price", "size", "side", "wire_sequence"),
        orient="row",
    )
    start = pl.col("at_us").min() // HOUR * HOUR
    of_product = [
        (pl.col(name) - pl.col(name).min()).over("product_id").alias(name) for name in ("id", "wire_sequence")
    ]
    spans = [
        (pl.col(name).max() - pl.col(name).min() + 1).over("product_id").alias(f"{name}_span")
        for name in ("id", "wire_sequence")
    ]
    place = pl.int_range(pl.len()).over("product_id").alias("place")
    return trades.select(
        "product_id", "price", "size", "side", (pl.col("at_us") - start).alias("at_us"), *of_product, *spans, place,
        pl.len().over("product_id").alias("places"),
        pl.struct("product_id", "id").is_first_distinct().not_().alias("is_repeated"),
    )  # fmt: skip


def _progress(plays: Iterable[Play]) -> pl.DataFrame:
    """Give what the producers would have said each minute: the highest id so far, counted as the trades' are."""
    facts = _facts(plays)
    minutes = pl.DataFrame({"through_us": range(MINUTE, CYCLE + MINUTE, MINUTE)})
    reached = [
        facts.filter(pl.col("product_id") == product)
        .with_columns(through_us=(pl.col("at_us") // MINUTE + 1) * MINUTE)
        .group_by("through_us")
        .agg(pl.col("id").max())
        .join(minutes, on="through_us", how="right")
        .sort("through_us")
        .select(
            "through_us",
            pl.lit(product).alias("product_id"),
            pl.col("id").cum_max().forward_fill().fill_null(-1),
            pl.lit(facts.filter(pl.col("product_id") == product)["id_span"][0]).alias("id_span"),
        )
        for product in PRODUCTS
    ]
    return pl.concat(reached)


class Writer:
    """Writes a past with Spark; what it writes is a function of the past.

    Args:
        recording: The folder of the recorded facts.
    """

    def __init__(self, spark: SparkSession, recording: str, past: Past) -> None:
        self._spark = spark
        self._recording = recording
        self._past = past

    def received(self) -> DataFrame:
        """Return the trades as Bronze has them, and `is_repeated`; a partition of the frame is one file."""
        past = self._past
        count = past.hours * past.parts
        part = self._spark.range(0, count, 1, count).select(
            F.floor(F.col("id") / past.parts).alias("hour"), (F.col("id") % past.parts).alias("part")
        )
        part = part.select("*", *self._cycle(F.col("hour")))
        facts = F.broadcast(
            self._spark.read.parquet(f"{self._recording}/trades.parquet").select(
                "*",
                F.floor(F.col("at_us") / HOUR).alias("recorded_hour"),
                F.floor(F.col("at_us") % HOUR / (HOUR / past.parts)).alias("part"),
            )
        )
        copies = F.explode(F.sequence(F.lit(0), F.lit(past.copies - 1))).alias("copy")
        trades = (
            part.join(facts, ["recorded_hour", "part"])
            .select("*", copies)
            .select(
                "product_id", "price", "size", "side", "is_repeated",
                (FIRST_ID + self._nth("id", "id_span")).alias("number"),
                (FIRST_ID + self._nth("wire_sequence", "wire_sequence_span")).alias("wire_sequence"),
                self._nth("place", "places").alias("_kafka_offset"),
                (F.col("starts_us") + F.col("at_us") + F.col("copy")).alias("at_us"),
            )
            .sortWithinPartitions("at_us", "_kafka_offset")
        )  # fmt: skip
        arrived = F.col("at_us") + LATENCY_US + F.pmod(F.xxhash64("product_id", "number"), F.lit(JITTER_US))
        written = arrived + F.pmod(F.xxhash64("number", "product_id"), F.lit(KAFKA_US))
        return trades.withColumns(
            {"trade_id": F.col("number").cast("string"), "time": _wire_time(F.col("at_us"))}
        ).withColumns(
            {
                "_ingested_at": F.timestamp_micros(arrived),
                "_raw_payload": self._frame(),
                "_kafka_topic": F.lit(COINBASE_TRADES.name),
                "_kafka_partition": F.array_position(F.array(*map(F.lit, PRODUCTS)), F.col("product_id")) - 1,
                "_kafka_time": F.timestamp_millis(F.floor(written / 1000)),
                "_source": F.lit("ws"),
                "_frame_index": F.lit(0),
                "venue": F.lit("coinbase"),
                "market": F.lit("spot"),
                "sequence": F.col("number"),
            }
        )

    def cleaned(self, received: DataFrame) -> DataFrame:
        """Return the rows of Silver, in the order in which they came."""
        once = received.where(~F.col("is_repeated"))
        return select_columns(transforms.judge(once, Settings.load().late_after), silver.TRADES)

    def progress(self) -> DataFrame:
        """Return what the producers said, each minute."""
        hours = self._spark.range(0, self._past.hours, RECORDED_HOURS).select(*self._cycle(F.col("id")))
        said = self._spark.read.parquet(f"{self._recording}/progress.parquet")
        last = FIRST_ID + (F.col("cycle") * F.col("id_span") + F.col("id") + 1) * self._past.copies - 1
        through = F.col("starts_us") + F.col("through_us")
        end = (self._past.first + self._past.hours * 3600) * 1_000_000
        return (
            hours.crossJoin(F.broadcast(said))
            .where(through <= end)
            .withColumns(
                {
                    "_ingested_at": F.timestamp_micros(through + LATENCY_US),
                    "_kafka_topic": F.lit("ingestion.progress"),
                    "_kafka_partition": F.lit(0),
                    "_kafka_offset": F.monotonically_increasing_id(),
                    "_kafka_time": F.timestamp_micros(through + LATENCY_US),
                    "venue": F.lit("coinbase"),
                    "market": F.lit("spot"),
                    "covered_from": F.timestamp_seconds(F.lit(self._past.first)),
                    "closed_through": F.timestamp_micros(through),
                    "last_trade_id": last,
                }
            )
        )

    def _cycle(self, hour: Column) -> list[Column]:
        """Say which recorded hour an hour plays, in which cycle, and when that began."""
        cycle = F.floor(hour / RECORDED_HOURS)
        return [
            (hour % RECORDED_HOURS).alias("recorded_hour"),
            cycle.alias("cycle"),
            (F.lit(self._past.first * 1_000_000) + cycle * CYCLE).alias("starts_us"),
        ]

    def _nth(self, name: str, span: str) -> Column:
        """Count on over the cycles and the copies."""
        return (F.col("cycle") * F.col(span) + F.col(name)) * self._past.copies + F.col("copy")

    def _frame(self) -> Column:
        """Write a match as the exchange does."""
        taker = "time" if self._past.shares_orders else "trade_id"
        values = {
            "maker_order_id": _order("maker", "trade_id"),
            "taker_order_id": _order("taker", taker),
            "sequence": F.col("wire_sequence").cast("string"),
        }
        parts = [part for name, text in FRAME for part in (F.lit(text), values.get(name, F.col(name)))]
        return F.concat(*parts, F.lit('"}'))


def _order(party: str, of: str) -> Column:
    """Make up an order's random id, always the same for the same trade or moment."""
    digits = F.md5(F.concat_ws(" ", F.lit(party), "product_id", of))
    places = [(1, 8), (9, 4), (14, 3), (17, 1), (18, 3), (21, 12)]
    first, second, third, variant, fourth, fifth = (F.substring(digits, start, length) for start, length in places)
    variant = F.translate(variant, "0123456789abcdef", "89ab89ab89ab89ab")
    return F.concat_ws("-", first, second, F.concat(F.lit("4"), third), F.concat(variant, fourth), fifth)


def _wire_time(at_us: Column) -> Column:
    return F.date_format(F.timestamp_micros(at_us), "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'")


def main(recording: str, words: str) -> None:
    """Write a past to the session's branch."""
    past, catalog = Past(**json.loads(words)), Settings.load().catalog
    spark = SparkSession.builder.appName("history").getOrCreate()
    writer = Writer(spark, recording, past)
    received = writer.received()
    for table, rows in ((bronze.TRADES, received), (bronze.INGESTION_PROGRESS, writer.progress())):
        select_columns(rows, table).writeTo(f"{catalog}.{table.full_name}").append()
    if silver.TRADES.full_name in past.tables:
        # As they lie: the table's own way would bring all hours of a product and day together in one file.
        to_silver = writer.cleaned(received).writeTo(f"{catalog}.{silver.TRADES.full_name}")
        to_silver.option("distribution-mode", "none").append()
    if PLAIN in past.tables:
        spark.sql(f"create namespace if not exists {catalog}.{PLAIN.partition('.')[0]}")
        writer.cleaned(received).writeTo(f"{catalog}.{PLAIN}").using("iceberg").create()


if __name__ == "__main__":
    main(*sys.argv[1:])

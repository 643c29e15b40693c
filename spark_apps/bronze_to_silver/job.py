"""Make one hour of Silver from Bronze, on the branch that `spark.sql.catalog.<catalog>.ref` names.

    spark-submit --conf spark.sql.catalog.lake.ref=<branch> spark_apps/bronze_to_silver/job.py --hour 2026-11-20T09

The hour is replaced as a whole in each table of Silver, so running it again gives the same rows. It ends with 1 and the
reason in the log if it would lose trades that the hour has, because Bronze no longer holds them.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from include.contracts import bronze, silver
from include.contracts.silver import PRODUCT
from include.contracts.table import Table
from include.logs import log_as_json
from include.settings import Settings
from spark_apps.bronze_to_silver import transforms
from spark_apps.bronze_to_silver.transforms import HOUR

log = logging.getLogger("bronze_to_silver")

KEY_FORMAT = "%Y-%m-%dT%H"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Product = tuple[str, str, str]
"""Venue, market, product."""

EDGE = timedelta(minutes=2)
"""How far around the hour's start and end progress is looked for first: a product in health publishes in seconds."""

FOLLOWED_WITHIN = timedelta(hours=3)
"""A product without progress for longer than this before an hour is not followed any more."""


CLOCKS_APART = timedelta(days=1)
"""How far our clock may be behind the exchange's: nothing about an hour arrives earlier than this before it."""


MOMENTS = ("covered_from", "before_time", "after_time")
"""When the venue's ids before, in and after the hour were seen."""


class HourWouldShrinkError(RuntimeError):
    """Silver has trades of the hour that Bronze no longer holds."""


@dataclass(frozen=True, slots=True)
class Job:
    """One hour to make.

    Args:
        hour: Its start.
        expected: Products that ought to be followed.
        late_after: The age at arrival from which a trade of the live feed is late.
        may_shrink: Whether trades may be lost that Silver has and Bronze does not.
    """

    hour: datetime
    expected: tuple[Product, ...]
    late_after: timedelta
    may_shrink: bool


class Lake:
    """The tables on the session's branch."""

    def __init__(self, spark: SparkSession, catalog: str) -> None:
        self._spark = spark
        self._catalog = catalog

    def read(self, table: Table) -> DataFrame:
        """Return a table."""
        return self._spark.table(self._name(table))

    def of_hour(self, table: Table, hour: datetime) -> DataFrame:
        """Return a table's rows of an hour."""
        return self.read(table).where(_within(table, hour))

    def replace(self, hours: Mapping[Table, DataFrame], hour: datetime) -> dict[Table, int]:
        """Make the rows the only ones of the hour in each table; return how many there are.

        Two commits, delete and append, on a branch that nobody reads before it is merged. The bounds are literals, so
        that only the hour's files are touched: dropped whole where they hold nothing else, which is the usual case, or
        rewritten after a compaction, when Iceberg's overwrite by filter would be refused. Nothing is committed for no
        rows, and all are counted at once: to plan a query takes longer than to count an hour.

        Args:
            hours: Best persisted.
        """
        standing = counts({table: self.of_hour(table, hour) for table in hours})
        given = counts(hours)
        for table, rows in hours.items():
            if standing[table]:
                self._spark.sql(f"delete from {self._name(table)} where {_within(table, hour)}")
            if given[table]:
                rows.writeTo(self._name(table)).append()
        return given

    def _name(self, table: Table) -> str:
        return f"{self._catalog}.{table.full_name}"


def counts(frames: Mapping[Table, DataFrame]) -> dict[Table, int]:
    """Count the rows of several frames in one query."""
    named = [rows.select(F.lit(table.full_name).alias("name")) for table, rows in frames.items()]
    found = {row["name"]: row["count"] for row in reduce(DataFrame.union, named).groupBy("name").count().collect()}
    return {table: found.get(table.full_name, 0) for table in frames}


def evidence(lake: Lake, hour: datetime, expected: Sequence[Product]) -> tuple[DataFrame, list[Row]]:
    """Say what progress proves of the hour; only what lies at its edges is read if that says enough.

    Args:
        expected: Products that ought to be followed.

    Returns:
        A row for each followed product, and the same rows here, their moments as microseconds.
    """
    reached = F.col("closed_through")
    at_start = reached.between(F.lit(hour - EDGE), F.lit(hour))
    at_end = reached.between(F.lit(hour + HOUR), F.lit(hour + HOUR + EDGE))
    progress = lake.read(bronze.INGESTION_PROGRESS)
    near = transforms.evidence(progress.where(at_start | at_end), hour).persist()
    found = _collected(near)
    if all(row.is_closed for row in found) and {tuple(row)[:3] for row in found}.issuperset(expected):
        return near, found
    near.unpersist()
    far = transforms.evidence(progress.where(reached >= F.lit(hour - FOLLOWED_WITHIN)), hour).persist()
    return far, _collected(far)


def span(followed: Iterable[Row], hour: datetime) -> tuple[datetime, datetime]:
    """Return the exchange times from which and to which trades are to be read, to see what lies at the hour's edges.

    Where progress says how the ids stood, that is a few seconds to either side; else an hour.

    Args:
        followed: What `evidence` says, collected.
    """
    end = hour + HOUR
    since, until = hour, end
    for row in followed:
        covered_from, before, after = (_moment(row[name]) for name in MOMENTS)
        if before is not None:
            since = min(since, before)
        elif covered_from is not None and covered_from < hour:
            since = min(since, hour - HOUR)
        until = max(until, min(after, end + HOUR) if after is not None else end + HOUR)
    return max(since, hour - HOUR), until


def build(lake: Lake, job: Job) -> dict[str, int]:
    """Replace the hour in all of Silver; return how many rows each table has of it.

    Raises:
        HourWouldShrinkError: If trades would be lost, and that is not allowed.
    """
    hour = job.hour
    followed, collected = evidence(lake, hour, job.expected)
    since, until = span(collected, hour)
    near = transforms.near(lake.read(bronze.TRADES), hour, since, until)
    judged = transforms.judge(near, job.late_after).persist()
    if not job.may_shrink:
        refuse_to_shrink(lake, judged, hour)
    trades = transforms.trades(judged, hour).persist()
    gaps = ledger(lake, transforms.holes(judged, followed, hour, since, until).persist(), hour)
    tables = {
        silver.TRADES: trades,
        silver.TRADES_QUARANTINE: transforms.quarantine(judged, hour),  # from rows that are persisted, and few
        silver.TRADE_GAPS: gaps,
        silver.PRODUCT_HOURS: transforms.product_hours(trades, gaps, followed, hour).persist(),
    }
    return {table.full_name: count for table, count in lake.replace(tables, hour).items()}


def ledger(lake: Lake, holes: DataFrame, hour: datetime) -> DataFrame:
    """Say how each hole of an hour ended; what the producers told is read only where there is a hole.

    Args:
        holes: What `transforms.holes` returns, persisted.

    Returns:
        Rows of `silver.trade_gaps`, persisted or made of what is.
    """
    if holes.isEmpty():
        return transforms.trade_gaps(holes, None)
    # What the venue does not have, the producers say when they have asked for it: after the trades around it.
    since = F.col("_ingested_at") >= F.lit(hour - CLOCKS_APART)
    return transforms.trade_gaps(holes, lake.read(bronze.INGESTION_EVENTS).where(since)).persist()


def refuse_to_shrink(lake: Lake, judged: DataFrame, hour: datetime) -> None:
    """Raise unless every trade that Silver has of the hour is among the judged rows."""
    grain = list(silver.TRADES.grain)
    lost = lake.of_hour(silver.TRADES, hour).join(judged.select(*grain), grain, "left_anti").count()
    if lost:
        raise HourWouldShrinkError(
            f"{lost} trades that silver.trades has of {hour:{KEY_FORMAT}} are no longer in Bronze, "
            "which keeps them for a limited time; to lose them all the same, give --allow-shrink"
        )


def _within(table: Table, hour: datetime) -> str:
    start, end = (f"timestamp '{moment:%Y-%m-%d %H:%M:%S}+00:00'" for moment in (hour, hour + HOUR))
    return f"{table.hour_column} >= {start} and {table.hour_column} < {end}"


def _collected(followed: DataFrame) -> list[Row]:
    return followed.select(*PRODUCT, "is_closed", *(F.unix_micros(name).alias(name) for name in MOMENTS)).collect()


def _moment(micros: int | None) -> datetime | None:
    return EPOCH + timedelta(microseconds=micros) if micros is not None else None


def arguments(words: Sequence[str]) -> Job:
    """Read the command line."""
    settings = Settings.load()
    parser = argparse.ArgumentParser(prog="bronze_to_silver", description="Make one hour of Silver from Bronze.")
    parser.add_argument("--hour", required=True, type=_hour, help="the hour, UTC, like 2026-11-20T09")
    parser.add_argument("--late-after-seconds", type=float, default=settings.late_after.total_seconds())
    parser.add_argument("--allow-shrink", action="store_true", help="lose trades that Bronze no longer holds")
    given = parser.parse_args(words)
    return Job(
        hour=given.hour,
        expected=settings.followed,
        late_after=timedelta(seconds=given.late_after_seconds),
        may_shrink=given.allow_shrink,
    )


def _hour(key: str) -> datetime:
    return datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC)


def main() -> int:
    """Make the hour; return the exit code."""
    log_as_json()
    job = arguments(sys.argv[1:])
    spark = SparkSession.builder.appName(f"bronze-to-silver-{job.hour:{KEY_FORMAT}}").getOrCreate()
    try:
        rows = build(Lake(spark, Settings.load().catalog), job)
    except HourWouldShrinkError as refusal:
        log.error("hour not built", extra={"hour": f"{job.hour:{KEY_FORMAT}}", "reason": str(refusal)})
        return 1
    log.info("hour built", extra={"hour": f"{job.hour:{KEY_FORMAT}}", "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())

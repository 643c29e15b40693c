"""An hour of Silver from Bronze. Pure: the hour, the evidence and the limits come from the caller.

A row belongs to the hour that its time names, in text, or if that names none to the hour in which it arrived. So every
Bronze row is judged in exactly one hour, and ends there in trades, as a copy of one, or in quarantine.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from include.contracts import bronze, silver
from include.contracts.silver import PRODUCT
from include.contracts.table import Action
from include.contracts.venues import VENUES
from include.renderers.spark import cast_to, select_columns

HOUR = timedelta(hours=1)

TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6}0*)?Z$"
"""Exchange times as venues write them, exact to the microsecond: Spark would cut off further digits in silence."""

DECIMAL = r"^-?\d+(\.\d{0,8}0*)?$"
"""Numbers that have a place for each of their digits: Spark would round further decimals in silence."""

NUMBER = r"^\d{1,19}$"
"""Bybit's spot ids have 19 digits; of those that are too large for a bigint the cast makes null."""

OTHER = {"buy": "sell", "sell": "buy"}


def near(trades: DataFrame, hour: datetime, since: datetime, until: datetime) -> DataFrame:
    """Return the Bronze rows that may matter for an hour; files without any are not read.

    Args:
        since: Exchange time from which neighbours are wanted, at most the hour's start.
        until: Exchange time to which neighbours are wanted, at least the hour's end.
    """
    # Times are text of one form, so they sort as times do, if compared by whole seconds.
    by_time = (F.col("time") >= _second(since)) & (F.col("time") < _second(until + timedelta(seconds=1)))
    by_arrival = (F.col("_ingested_at") >= F.lit(hour)) & (F.col("_ingested_at") < F.lit(hour + HOUR))
    return trades.where(by_time | by_arrival)


def judge(trades: DataFrame, late_after: timedelta) -> DataFrame:
    """Give Bronze rows the columns of Silver, the hour that they belong to, and the first rule that they break.

    Returns:
        Silver's columns, the row's offset, `hour_start`, `rule_id` (null for a good row), and in `received` the row as
        it was, which is ten times the rest, if it breaks a rule.
    """
    ingested_at, trade_time = F.col("_ingested_at"), _time(F.col("time"))
    age = F.unix_micros(ingested_at) - F.unix_micros(trade_time)
    is_late = (F.col("_source") == "ws") & (age > int(late_after / timedelta(microseconds=1)))
    typed = trades.select(
        *PRODUCT,
        F.when(F.col("trade_id").rlike(NUMBER), F.col("trade_id").cast("bigint")).alias("trade_id"),
        F.col("trade_id").alias("trade_ref"),
        "sequence",
        "_frame_index",
        _decimal("price").alias("price"),
        _decimal("size").alias("size"),
        _taker_side().alias("side"),
        trade_time.alias("trade_time"),
        ingested_at.alias("ingested_at"),
        is_late.alias("_is_late_arrival"),
        F.floor(age / 1000).alias("_source_latency_ms"),
        *bronze.OFFSET,
        _hour().alias("hour_start"),
        F.struct(*bronze.TRADES.column_names).alias("received"),
    ).withColumn("rule_id", _first_broken_rule())
    return typed.withColumn("received", F.when(~_is_good(), F.col("received")))


def trades(judged: DataFrame, hour: datetime) -> DataFrame:
    """Return the hour's trades: good rows, and of copies of a trade the one with the lowest offset."""
    return select_columns(_first_copies(judged.where(_is_good() & _is_of(hour))), silver.TRADES)


def quarantine(judged: DataFrame, hour: datetime) -> DataFrame:
    """Return the hour's rows that broke a rule, as received."""
    broken = judged.where(~_is_good() & _is_of(hour)).select("hour_start", "rule_id", "received.*")
    return select_columns(broken, silver.TRADES_QUARANTINE)


def evidence(progress: DataFrame, hour: datetime) -> DataFrame:
    """Say of each product what the producers' progress proves of an hour.

    Progress only grows, so records that come later change nothing for an hour that was closed.

    Returns:
        A row for each product that was followed before the hour's end: `covered_from`; `is_closed`; and what is known
        of its ids around the hour: by `before_time`, at or before its start, the highest was `before_id`; by
        `after_time`, at or after its end, it was `after_id`. Null where no record says.
    """
    start, end = F.lit(hour), F.lit(hour + HOUR)
    moment = F.struct("closed_through", "last_trade_id")
    vouches = (F.col("covered_from") <= start) & (F.col("closed_through") >= end)
    return (
        progress.where(F.col("covered_from") < end)
        .groupBy(*PRODUCT)
        .agg(
            F.min("covered_from").alias("covered_from"),
            F.max(F.when(F.col("closed_through") <= start, moment)).alias("before"),
            F.min(F.when(vouches, moment)).alias("after"),
        )
        .select(
            *PRODUCT,
            "covered_from",
            F.col("after").isNotNull().alias("is_closed"),
            F.col("before.closed_through").alias("before_time"),
            F.col("before.last_trade_id").alias("before_id"),
            F.col("after.closed_through").alias("after_time"),
            F.col("after.last_trade_id").alias("after_id"),
        )
    )


def holes(judged: DataFrame, followed: DataFrame, hour: datetime, since: datetime, until: datetime) -> DataFrame:
    """Return the holes in the trade ids that touch an hour.

    A hole lies between two neighbouring ids, and is as long in time as the trades around it are apart: it touches each
    hour in between. At the hour's edges the neighbours are trades of the hours beside it, or the ids that the evidence
    knows of. After the hour's end only what was known when it was closed counts, so that an hour stays as it was
    judged; a hole that begins in it and was found later is in the ledger of the hour after.

    Args:
        judged: The rows near the hour.
        followed: The evidence.
        since: The exchange time from which all rows are in `judged`.
        until: The exchange time to which they are.

    Returns:
        The columns of `silver.trade_gaps` but for `state`.
    """
    start, end = F.lit(hour), F.lit(hour + HOUR)
    marks = followed.where(_counts_ids())
    is_inside = (F.col("trade_time") >= start) & (F.col("trade_time") < end)
    came_before = (F.col("trade_time") < start) & (F.col("trade_id") > F.coalesce("before_id", F.lit(0)))
    came_after = F.col("trade_time") >= end
    was_known = ~F.coalesce("is_closed", F.lit(False)) | (F.col("trade_id") <= F.col("after_id"))
    seen = (
        judged.where(_is_good() & _counts_ids() & F.col("trade_time").between(F.lit(since), F.lit(until)))
        .join(F.broadcast(marks), list(PRODUCT), "left")
        .where(is_inside | came_before | (came_after & was_known))
        .select(*PRODUCT, "trade_id", "trade_time")
    )
    before = marks.select(*PRODUCT, F.col("before_id").alias("trade_id"), F.col("before_time").alias("trade_time"))
    # The highest id may itself be missing; what is surely beyond the hole is the id that comes next.
    after = marks.where(F.col("after_time") <= F.lit(until)).select(
        *PRODUCT, (F.col("after_id") + 1).alias("trade_id"), F.col("after_time").alias("trade_time")
    )
    known = seen.unionByName(before).unionByName(after).where(F.col("trade_id").isNotNull())
    by_id = Window.partitionBy(*PRODUCT).orderBy("trade_id", "trade_time")
    return (
        known.withColumn("next_id", F.lead("trade_id").over(by_id))
        .withColumn("gap_until", F.lead("trade_time").over(by_id))
        .where(F.col("next_id") > F.col("trade_id") + 1)
        .where((F.col("trade_time") < end) & (F.col("gap_until") >= start))
        .select(
            start.alias("hour_start"),
            *PRODUCT,
            (F.col("trade_id") + 1).alias("first_missing_id"),
            (F.col("next_id") - 1).alias("last_missing_id"),
            (F.col("next_id") - F.col("trade_id") - 1).alias("missing_count"),
            F.col("trade_time").alias("gap_from"),
            "gap_until",
        )
    )


def trade_gaps(holes: DataFrame, events: DataFrame | None) -> DataFrame:
    """Say how each hole ended: a hole that is still there was not repaired.

    Args:
        holes: What `holes` returns.
        events: Rows of `bronze.ingestion_events`, which say what the venue does not have; None if nothing is told.
    """
    if events is None:
        return select_columns(holes.withColumn("state", F.lit("open")), silver.TRADE_GAPS)
    told = events.select(
        *PRODUCT,
        F.from_json("_raw_payload", "first_missing_id bigint, last_missing_id bigint, state string").alias("gap"),
    )
    lost = told.where("gap.state = 'unavailable'").select(
        *PRODUCT, F.col("gap.first_missing_id").alias("first_lost"), F.col("gap.last_missing_id").alias("last_lost")
    )
    is_within = (F.col("first_lost") <= F.col("first_missing_id")) & (F.col("last_missing_id") <= F.col("last_lost"))
    same_product = [holes[name] == lost[name] for name in PRODUCT]
    known_lost = holes.join(lost, [*same_product, is_within], "left_semi").withColumn("state", F.lit("unavailable"))
    others = holes.join(lost, [*same_product, is_within], "left_anti").withColumn("state", F.lit("open"))
    return select_columns(known_lost.unionByName(others), silver.TRADE_GAPS)


def product_hours(trades: DataFrame, gaps: DataFrame, followed: DataFrame, hour: datetime) -> DataFrame:
    """Return a row for each product that was followed in the hour, or traded in it.

    Args:
        trades: The hour's rows of `silver.trades`.
        gaps: The hour's rows of `silver.trade_gaps`.
        followed: The evidence.
    """
    traded = trades.groupBy(*PRODUCT).agg(F.count("*").alias("trade_count"))
    missing = gaps.where("state != 'repaired'").groupBy(*PRODUCT).agg(F.sum("missing_count").alias("missing_count"))
    closed = followed.select(*PRODUCT, "is_closed")
    hours = closed.join(traded, list(PRODUCT), "full").join(missing, list(PRODUCT), "left")
    return select_columns(
        hours.withColumn("hour_start", F.lit(hour)).fillna({"is_closed": False, "trade_count": 0, "missing_count": 0}),
        silver.PRODUCT_HOURS,
    )


def _first_copies(good: DataFrame) -> DataFrame:
    grain = [F.col(name) for name in silver.TRADES.grain]
    nth = F.row_number().over(Window.partitionBy(*grain).orderBy(*bronze.OFFSET))
    return good.withColumn("copy", nth).where("copy = 1")


def _is_good() -> Column:
    return F.col("rule_id").isNull()


def _is_of(hour: datetime) -> Column:
    return F.col("hour_start") == F.lit(hour)


def _counts_ids() -> Column:
    return F.col("venue").isin(*(venue.name for venue in VENUES if venue.contiguous_ids))


def _first_broken_rule() -> Column:
    broken = [
        F.when(~F.coalesce(F.expr(rule.condition), F.lit(False)), F.lit(rule.id))
        for rule in silver.TRADES.rules
        if rule.action is Action.QUARANTINE
    ]
    return F.coalesce(*broken)


def _time(text: Column) -> Column:
    return F.when(text.rlike(TIME), text.cast("timestamp"))


def _decimal(name: str) -> Column:
    text = F.col(name)
    return F.when(text.rlike(DECIMAL), cast_to(text, silver.TRADES, name))


def _taker_side() -> Column:
    """Return whose side it is in our words; null for other words, and for venues that we do not know."""
    words = [
        F.when(
            (F.col("venue") == venue.name) & (F.col("side") == word), OTHER[side] if venue.side_is == "maker" else side
        )
        for venue in VENUES
        for word, side in venue.sides.items()
    ]
    return F.coalesce(*words)


def _hour() -> Column:
    named = _time(F.concat(F.substring("time", 1, len("2026-11-20T09")), F.lit(":00:00Z")))
    return F.coalesce(named, F.date_trunc("hour", "_ingested_at"))


def _second(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")

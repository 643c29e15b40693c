"""What each gate reads: frames of one hour, by the names that its checks use."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from include.contracts import bronze, gold, silver
from include.contracts.table import Layer, Table
from include.contracts.venues import VENUES
from include.orchestration.hours import Hour
from include.orchestration.lake import between, instant, open_catalog, rows, rows_of_hour
from include.quality.bronze import OFFSETS
from include.quality.gold import HOURS_OF_DAY
from include.quality.judgement import frame_name
from include.quality.silver import HOURS_BEFORE
from include.settings import Settings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

Frames = dict[str, pa.Table]


def bronze_frames(settings: Settings, branch: str, hour: Hour) -> Frames:
    """Read the hour's trades as received, and every offset between the first and the last of them."""
    with open_catalog(settings, branch) as catalog:
        trades = rows_of_hour(catalog, bronze.TRADES, hour)
        return {frame_name(bronze.TRADES): trades, OFFSETS: _offsets(catalog, trades, hour)}


def silver_frames(settings: Settings, branch: str, hour: Hour) -> Frames:
    """Read Silver's hour, the Bronze rows it was made from, and the last prices before it."""
    keys = ("venue", "market", "product_id", "trade_id", *bronze.OFFSET)
    with open_catalog(settings, branch) as catalog:
        return {
            frame_name(bronze.TRADES): rows_of_hour(catalog, bronze.TRADES, hour, keys),
            **{frame_name(table): rows_of_hour(catalog, table, hour) for table in silver.TABLES},
            HOURS_BEFORE: _before(catalog, gold.OHLCV_1H, hour),
        }


def gold_frames(settings: Settings, branch: str, hour: Hour) -> Frames:
    """Read Gold's hour, the Silver it was made from, and the day's hours that the daily table adds up."""
    read = (*gold.TABLES, silver.TRADES, silver.TRADE_GAPS, silver.PRODUCT_HOURS)
    with open_catalog(settings, branch) as catalog:
        return {
            **{frame_name(table): rows_of_hour(catalog, table, hour) for table in read},
            HOURS_OF_DAY: _day(catalog, gold.OHLCV_1H, hour),
        }


READERS: dict[Layer, Callable[[Settings, str, Hour], Frames]] = {
    Layer.BRONZE: bronze_frames,
    Layer.SILVER: silver_frames,
    Layer.GOLD: gold_frames,
}


def _day(catalog: Catalog, table: Table, hour: Hour) -> pa.Table:
    midnight = hour.start.replace(hour=0)
    assert table.hour_column is not None
    in_day = between(table.hour_column, instant(midnight), instant(midnight + timedelta(days=1)))
    return rows(catalog, table, in_day)


def _before(catalog: Catalog, table: Table, hour: Hour) -> pa.Table:
    """Read the day before an hour: of a product that did not trade for so long, the last price says nothing."""
    assert table.hour_column is not None
    day = between(table.hour_column, instant(hour.start - timedelta(days=1)), instant(hour.start))
    return rows(catalog, table, day, (*silver.PRODUCT, "window_start", "close"))


def _offsets(catalog: Catalog, trades: pa.Table, hour: Hour) -> pa.Table:
    """Read the offsets of all records between the hour's first and last, and of dead letters that came in the hour."""
    topic, partition, offset = bronze.OFFSET
    spans = trades.group_by([topic, partition]).aggregate([(offset, "min"), (offset, "max")]).to_pylist()
    conditions = [
        f"({topic} == '{span[topic]}' and {partition} == {span[partition]}"
        f" and {offset} >= {span[f'{offset}_min']} and {offset} <= {span[f'{offset}_max']})"
        for span in spans
    ]
    in_span = " or ".join(conditions) or "false"
    exchanges = ", ".join(f"'{venue.name}'" for venue in VENUES)
    # A venue without trades, whose prices no hour is made from, does not judge one.
    arrived = (
        f"({between('_ingested_at', instant(hour.start), instant(hour.end))}"
        f" and (venue is null or venue in ({exchanges})))"
    )
    good = rows(catalog, bronze.TRADES, in_span, bronze.OFFSET)
    dead = rows(catalog, bronze.DEAD_LETTERS, f"{in_span} or {arrived}", bronze.OFFSET)
    # pyiceberg gives text of one table as string, of another as large_string.
    both = [_marked(good, is_dead_letter=False), _marked(dead, is_dead_letter=True)]
    return pa.concat_tables(both, promote_options="permissive")


def _marked(offsets: pa.Table, *, is_dead_letter: bool) -> pa.Table:
    mark = pa.repeat(pa.scalar(is_dead_letter), offsets.num_rows)
    return offsets.append_column("is_dead_letter", mark)

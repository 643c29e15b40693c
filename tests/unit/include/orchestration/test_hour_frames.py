"""Which offsets judge an hour: read from a real catalog of pyiceberg, in memory and a folder."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.memory import InMemoryCatalog

from include.contracts import bronze
from include.orchestration.hour_frames import _offsets
from include.orchestration.hours import Hour

pytestmark = pytest.mark.unit

NINE = Hour(datetime(2026, 11, 20, 9, tzinfo=UTC))
HALF_PAST = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
ROW = pa.schema(
    [
        ("_kafka_topic", pa.string()),
        ("_kafka_partition", pa.int32()),
        ("_kafka_offset", pa.int64()),
        ("_ingested_at", pa.timestamp("us", tz="UTC")),
        ("venue", pa.string()),
    ]
)


def rows(*offsets: tuple[str, int, str | None]) -> pa.Table:
    """Make rows of topic, offset and venue, taken at half past nine."""
    return pa.Table.from_pylist(
        [dict(zip(ROW.names, (topic, 0, offset, HALF_PAST, venue), strict=True)) for topic, offset, venue in offsets],
        ROW,
    )


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    lake = InMemoryCatalog("lake", warehouse=tmp_path.as_uri())
    lake.create_namespace("bronze")
    return lake


def test_an_hour_is_judged_by_dead_letters_of_exchanges_and_of_nobody_but_not_of_a_venue_without_trades(catalog):
    trades = rows(("coinbase.raw.trades", 7, "coinbase"))
    letters = rows(
        ("coinbase.raw.trades", 8, None),
        ("bybit.dlq", 1, "bybit"),
        ("coingecko.dlq", 2, "coingecko"),
        ("coingecko.raw.prices", 3, "coingecko"),
    )
    for table, content in ((bronze.TRADES, trades), (bronze.DEAD_LETTERS, letters)):
        catalog.create_table(table.full_name, ROW).append(content)

    found = _offsets(catalog, trades, NINE).to_pylist()

    assert sorted((row["_kafka_topic"], row["is_dead_letter"]) for row in found) == [
        ("bybit.dlq", True),
        ("coinbase.raw.trades", False),
        ("coinbase.raw.trades", True),
    ]

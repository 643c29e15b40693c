"""Which trades came after their hour was published: read from a real catalog of pyiceberg, in memory and a folder."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.memory import InMemoryCatalog

from include.contracts import bronze, silver
from include.contracts.topics import COINBASE_TRADES
from include.orchestration.evidence import Offsets
from include.orchestration.late_trades import ARRIVED, Late, Look, look, run_id, unseen

pytestmark = pytest.mark.unit

NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)
NOON = NINE + timedelta(hours=3)
BTC = ("coinbase", "spot", "BTC-USD")
TOPIC = COINBASE_TRADES.name
MOMENT = pa.timestamp("us", tz="UTC")
TYPES = {"_kafka_partition": pa.int32(), "_kafka_offset": pa.int64(), "_kafka_time": MOMENT, "_ingested_at": MOMENT}
OF_HOUR = {"trade_time": MOMENT, "hour_start": MOMENT}


def schema(names: Iterable[str]) -> pa.Schema:
    types = TYPES | OF_HOUR
    return pa.schema([(name, types.get(name, pa.string())) for name in names])


BRONZE = schema((*ARRIVED, "_kafka_time"))
SILVER = schema((*silver.TRADES.grain, "trade_time"))
QUARANTINE = schema((*silver.PRODUCT, "trade_id", "hour_start"))
HOURS = schema(("hour_start",))


class Tables:
    """The tables that a look reads, each with the columns that it reads."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._next = 0
        for table, columns in (
            (bronze.TRADES, BRONZE),
            (silver.TRADES, SILVER),
            (silver.TRADES_QUARANTINE, QUARANTINE),
            (silver.PRODUCT_HOURS, HOURS),
        ):
            catalog.create_namespace_if_not_exists(str(table.layer))
            catalog.create_table(table.full_name, columns)

    def arrive(self, trade_id: str, time: str, *, product: tuple[str, str, str] = BTC, at: datetime = NOON) -> None:
        """Append a row to Bronze."""
        row = dict(zip(silver.PRODUCT, product, strict=True)) | {
            "trade_id": trade_id,
            "time": time,
            "_ingested_at": at,
            "_kafka_time": at,
            "_kafka_topic": TOPIC,
            "_kafka_partition": 0,
            "_kafka_offset": self._next,
        }
        self._next += 1
        self._append(bronze.TRADES.full_name, BRONZE, row)

    def publish(self, hour: datetime, *trade_ids: str, quarantined: tuple[str, ...] = ()) -> None:
        """Append what a published hour has in Silver."""
        key = dict(zip(silver.PRODUCT, BTC, strict=True))
        self._append(silver.PRODUCT_HOURS.full_name, HOURS, {"hour_start": hour})
        for trade_id in trade_ids:
            self._append(silver.TRADES.full_name, SILVER, key | {"trade_ref": trade_id, "trade_time": hour})
        for trade_id in quarantined:
            row = key | {"trade_id": trade_id, "hour_start": hour}
            self._append(silver.TRADES_QUARANTINE.full_name, QUARANTINE, row)

    def look(self, seen: Offsets | None = None) -> Look:
        """Look at all that came since an earlier look, at most a day ago."""
        return look(self.catalog, seen or {}, NOON - timedelta(days=1))

    def _append(self, table: str, columns: pa.Schema, row: dict[str, Any]) -> None:
        self.catalog.load_table(table).append(pa.Table.from_pylist([row], columns))


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(InMemoryCatalog("lake", warehouse=tmp_path.as_uri()))


def test_a_trade_that_silver_lacks_is_late_and_one_that_it_has_or_refused_is_not(tables: Tables):
    tables.publish(NINE, "1", quarantined=("2",))
    for trade_id in ("1", "2", "3"):
        tables.arrive(trade_id, "2026-11-20T09:59:59.999Z")

    assert tables.look().late == (Late("2026-11-20T09", *BTC, 1, newest=2),)


def test_copies_of_a_late_trade_count_once(tables: Tables):
    tables.publish(NINE)
    for _ in range(2):
        tables.arrive("1", "2026-11-20T09:00:00Z")

    assert tables.look().late == (Late("2026-11-20T09", *BTC, 1, newest=1),)


def test_the_same_id_of_another_product_or_hour_is_another_trade(tables: Tables):
    tables.publish(NINE, "1")
    tables.publish(NINE + timedelta(hours=1))
    tables.arrive("1", "2026-11-20T09:30:00Z", product=("bybit", "spot", "BTC-USD"))
    tables.arrive("1", "2026-11-20T10:30:00Z")

    assert [(late.hour, late.venue) for late in tables.look().late] == [
        ("2026-11-20T09", "bybit"),
        ("2026-11-20T10", "coinbase"),
    ]


def test_a_trade_of_an_hour_that_is_not_published_is_not_late(tables: Tables):
    tables.publish(NINE)
    tables.arrive("1", "2026-11-20T10:00:00Z")
    tables.arrive("2", "2026-11-20T08:59:59.999Z")

    assert tables.look().late == ()


@pytest.mark.parametrize("time", ["yesterday", "2026-13-20T09:00:00Z", ""])
def test_a_row_without_a_readable_time_is_of_the_hour_in_which_it_arrived(tables: Tables, time):
    tables.publish(NOON)
    tables.arrive("1", time, at=NOON + timedelta(minutes=59))

    assert [late.hour for late in tables.look().late] == ["2026-11-20T12"]


def test_a_look_begins_where_the_last_one_ended(tables: Tables):
    tables.publish(NINE)
    tables.arrive("1", "2026-11-20T09:00:00Z")
    first = tables.look()
    tables.arrive("2", "2026-11-20T09:00:01Z")
    second = tables.look(first.seen)

    assert (first.seen, second.seen) == ({TOPIC: {0: 1}}, {TOPIC: {0: 2}})
    assert [late.newest for late in second.late] == [1]
    assert tables.look(second.seen) == Look((), second.seen)


def test_the_first_look_does_not_go_back_further_than_the_grace(tables: Tables):
    tables.publish(NINE)
    tables.arrive("1", "2026-11-20T09:00:00Z", at=NOON - timedelta(days=1, seconds=1))
    tables.arrive("2", "2026-11-20T09:00:00Z", at=NOON - timedelta(days=1))

    assert [late.newest for late in tables.look().late] == [1]


def test_files_are_chosen_by_offset_where_an_earlier_look_knows_it():
    conditions = unseen({TOPIC: {0: 17}}, NINE).split(" or ")

    mine = [condition for condition in conditions if "17" in condition]
    assert mine == [f"(_kafka_topic == '{TOPIC}' and _kafka_partition == 0 and _kafka_offset >= 17)"]
    assert all("_kafka_time >= '2026-11-20T09:00:00.000000+00:00'" in one for one in conditions if one not in mine)


def test_a_look_survives_json(tables: Tables):
    tables.publish(NINE)
    tables.arrive("1", "2026-11-20T09:00:00Z")
    found = tables.look()

    assert Look.of(found.as_json()) == found


def test_a_rebuild_is_named_after_the_trades_it_is_for():
    late = [Late("2026-11-20T09", *BTC, 1, newest=2)]
    more = [Late("2026-11-20T09", *BTC, 2, newest=3)]

    assert run_id(late).startswith("late__2026-11-20T09__")
    assert run_id(late) == run_id(list(late))
    assert run_id(late) != run_id(more)

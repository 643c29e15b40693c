"""Trades that came to Bronze after their hour was published: what a late feed, a late repair or a replay leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from include.contracts import bronze, silver
from include.contracts.topics import topics_of
from include.orchestration.evidence import Offsets, as_text, of_text
from include.orchestration.hours import KEY_FORMAT, Hour
from include.orchestration.lake import instant, published_hours, rows, rows_of_hour

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog

TOPIC, PARTITION, OFFSET = bronze.OFFSET
ARRIVED = (*silver.PRODUCT, "trade_id", "time", "_ingested_at", *bronze.OFFSET)

# The hour as the job that makes Silver has it: that of the time or, if none can be read, that of the arrival.
_PLACED = f"""
SELECT *, coalesce(
    strftime(try_strptime(regexp_extract(time, '^\\d{{4}}-\\d\\d-\\d\\dT\\d\\d'), '{KEY_FORMAT}'), '{KEY_FORMAT}'),
    arrival
) AS hour FROM arrived
"""
_LATE = f"""
SELECT venue, market, product_id, count(DISTINCT trade_id), max({OFFSET})
FROM placed ANTI JOIN known USING (venue, market, product_id, trade_id)
WHERE hour = $hour GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True, slots=True)
class Late:
    """What one published hour lacks of one product.

    Args:
        hour: The partition key.
        late_count: Trades in Bronze that Silver has neither as trades nor in quarantine.
        newest: The highest offset among them.
    """

    hour: str
    venue: str
    market: str
    product_id: str
    late_count: int
    newest: int

    @property
    def product(self) -> str:
        """The product as people read it."""
        return f"{self.venue}/{self.market}/{self.product_id}"


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at Bronze found, and how far Bronze was.

    Args:
        late: By hour and product, in their order.
        seen: The first offset that was not in Bronze yet, by topic and partition.
    """

    late: tuple[Late, ...]
    seen: Offsets

    def as_json(self) -> dict[str, Any]:
        """Give what JSON can carry."""
        return {"late": [asdict(late) for late in self.late], "seen": as_text(self.seen)}

    @classmethod
    def of(cls, told: dict[str, Any]) -> Self:
        """Read what `as_json` gave."""
        return cls(tuple(Late(**late) for late in told["late"]), of_text(told["seen"]))


def look(catalog: Catalog, seen: Offsets, since: datetime) -> Look:
    """Compare what has come to Bronze since an earlier look with the hours that are published.

    It is exact while no hour is on its way: an hour that is published later is made from what Bronze has by then.

    Args:
        seen: As the earlier look returned it; empty before the first.
        since: Of partitions that no earlier look has seen, only records that Kafka took at this time or later.
    """
    import duckdb
    from pyarrow import compute

    arrived = rows(catalog, bronze.TRADES, unseen(seen, since), ARRIVED)
    late: list[Late] = []
    with duckdb.connect() as engine:
        # DuckDB's own zoned type needs an extension for this.
        arrival = compute.strftime(arrived["_ingested_at"], format=KEY_FORMAT)
        engine.register("arrived", arrived.drop_columns("_ingested_at").append_column("arrival", arrival))
        engine.register("placed", engine.sql(_PLACED).to_arrow_table())
        named = [hour for (hour,) in engine.execute("SELECT DISTINCT hour FROM placed").fetchall()]
        for key in published_hours(catalog, named):
            engine.register("known", _known(catalog, Hour.of_key(key)))
            late += [Late(key, *found) for found in engine.execute(_LATE, {"hour": key}).fetchall()]
    return Look(tuple(late), _advanced(seen, arrived))


def facts(hours: Mapping[str, Sequence[Late]], too_old: Collection[str]) -> dict[str, Any]:
    """Say which published hours a look found stale, for its asset event; nothing if it found none.

    Args:
        hours: By hour, what it lacks.
        too_old: Those that are not built again.
    """
    if not hours:
        return {}
    stale = {
        key: {"late_count": sum(one.late_count for one in late), "is_too_old": key in too_old}
        for key, late in hours.items()
    }
    return {"first": min(stale), "last": max(stale), "hours": stale}


def unseen(seen: Offsets, since: datetime) -> str:
    """Say which rows of `bronze.trades` no look has seen, so that files without any are not read."""
    parts = []
    for topic in topics_of(bronze.TRADES.full_name):
        for partition in range(topic.partitions):
            first = seen.get(topic.name, {}).get(partition)
            new = f"_kafka_time >= '{instant(since)}'" if first is None else f"{OFFSET} >= {first}"
            parts.append(f"({TOPIC} == '{topic.name}' and {PARTITION} == {partition} and {new})")
    return " or ".join(parts)


def run_id(late: Sequence[Late]) -> str:
    """Name the run that rebuilds an hour: the same for the same trades, so that it is asked for once.

    Args:
        late: All of one hour.
    """
    trades = hashlib.sha256("".join(f"{one.product}/{one.newest} " for one in late).encode()).hexdigest()[:8]
    return f"late__{late[0].hour}__{trades}"


def _known(catalog: Catalog, hour: Hour) -> pa.Table:
    """Read the ids that Silver has judged in an hour."""
    import pyarrow as pa

    text = pa.schema([(name, pa.string()) for name in (*silver.PRODUCT, "trade_id")])
    trades = rows_of_hour(catalog, silver.TRADES, hour, silver.TRADES.grain).rename_columns(text.names)
    quarantine = rows_of_hour(catalog, silver.TRADES_QUARANTINE, hour, tuple(text.names))
    return pa.concat_tables([part.select(text.names).cast(text) for part in (trades, quarantine)])


def _advanced(seen: Offsets, arrived: pa.Table) -> Offsets:
    advanced = {topic: dict(of) for topic, of in seen.items()}
    for place in arrived.group_by([TOPIC, PARTITION]).aggregate([(OFFSET, "max")]).to_pylist():
        advanced.setdefault(place[TOPIC], {})[place[PARTITION]] = place[f"{OFFSET}_max"] + 1
    return advanced

"""What the lake holds, read as any other engine would read it: the newest candles, and how complete each hour is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from include.contracts.gold import OHLCV_1M, PRICE_LATEST
from include.orchestration.lake import open_catalog, rows
from include.settings import Settings

NEWEST_MINUTES = 3
HOUR = timedelta(hours=1)

Completeness = dict[tuple[datetime, str], Counter[str]]


def newest_candles(settings: Settings, minutes: int = NEWEST_MINUTES) -> list[Mapping[str, object]]:
    """Return the candles of the newest published minutes, newest first."""
    with open_catalog(settings, settings.branch) as catalog:
        prices = rows(catalog, PRICE_LATEST, "true", ("updated_at",))["updated_at"].to_pylist()
        if not prices:
            return []
        # The last trade's minute is among the newest; whatever the table holds, two hours of it are read.
        candles = rows(catalog, OHLCV_1M, f"window_start >= '{(max(prices) - HOUR).isoformat()}'")
    candles = candles.sort_by([("window_start", "descending"), ("product_id", "ascending")])
    if not candles.num_rows:
        return []
    newest: datetime = candles["window_start"][0].as_py()
    since = newest - timedelta(minutes=minutes - 1)
    found: list[Mapping[str, object]] = [row for row in candles.to_pylist() if row["window_start"] >= since]
    return found


def completeness(settings: Settings, first: datetime, end: datetime) -> Completeness:
    """Count the candles of each hour and product by their status, from the first hour to the end."""
    within = f"window_start >= '{first.isoformat()}' and window_start < '{end.isoformat()}'"
    with open_catalog(settings, settings.branch) as catalog:
        candles = rows(catalog, OHLCV_1M, within, ("window_start", "product_id", "status"))
    found: Completeness = defaultdict(Counter)
    for row in candles.to_pylist():
        hour = row["window_start"].astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        found[hour, row["product_id"]][row["status"]] += 1
    return dict(sorted(found.items()))

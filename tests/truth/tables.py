"""The rows of Silver and Gold that a tape justifies, as plain dictionaries in the tables' own words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from tests.truth.recording import Trade
from tests.truth.tape import HOUR, Hole, Tape

Row = dict[str, Any]
VENUE = {"venue": "coinbase", "market": "spot"}
MINUTE = timedelta(minutes=1)
FOR_EVER = datetime.max.replace(tzinfo=UTC)


def silver_trades(tape: Tape, products: Iterable[str], start: datetime, end: datetime) -> list[Row]:
    """Return the trades of [start, end) with the columns that do not depend on how they were received."""
    return [
        VENUE
        | {
            "product_id": trade.product_id,
            "trade_id": trade.trade_id,
            "trade_ref": str(trade.trade_id),
            "sequence": trade.trade_id,
            "price": trade.price,
            "size": trade.size,
            "side": trade.side,
            "trade_time": trade.time,
        }
        for product in sorted(products)
        for trade in tape.trades(product, start, end)
    ]


def trade_gaps(
    tape: Tape, products: Iterable[str], start: datetime, end: datetime, *, known_by: datetime = FOR_EVER
) -> list[Row]:
    """Return one row per hole and hour of [start, end) that it touches, without how it ended.

    Args:
        known_by: When the hours were judged: a hole whose end had not been traded by then was not yet to be seen.
    """
    return [
        VENUE
        | {
            "hour_start": hour,
            "product_id": product,
            "first_missing_id": hole.first_id,
            "last_missing_id": hole.last_id,
            "missing_count": hole.count,
            "gap_from": hole.after,
            "gap_until": hole.before,
        }
        for product in sorted(products)
        for hour in windows(start, end, HOUR)
        for hole in tape.holes(product, hour, hour + HOUR)
        if hole.before <= known_by
    ]


def candles(
    tape: Tape,
    products: Iterable[str],
    start: datetime,
    end: datetime,
    width: timedelta,
    *,
    known_by: datetime = FOR_EVER,
) -> list[Row]:
    """Return a candle for every product and window of [start, end), with or without trades.

    Args:
        known_by: As for `trade_gaps`.
    """
    rows = []
    for product in sorted(products):
        trades = tape.trades(product, start, end)
        holes = [hole for hole in tape.holes(product, start, end) if hole.before <= known_by]
        by_window: dict[datetime, list[Trade]] = {window: [] for window in windows(start, end, width)}
        for trade in trades:
            by_window[start + (trade.time - start) // width * width].append(trade)
        rows += [candle(product, window, width, inside, holes) for window, inside in by_window.items()]
    return rows


def wide_candles(tape: Tape, products: Iterable[str], hours: Iterable[datetime], width: timedelta) -> list[Row]:
    """Return a candle for every product and window that has published hours, over the trades of those hours alone.

    Args:
        hours: The published hours; a window that has others besides is `open`.
        width: Whole hours that divide a day.
    """
    by_window: dict[datetime, list[datetime]] = {}
    for hour in sorted(set(hours)):
        midnight = hour.replace(hour=0)
        by_window.setdefault(midnight + (hour - midnight) // width * width, []).append(hour)
    rows = []
    for product in sorted(products):
        for window, published in by_window.items():
            trades = [trade for hour in published for trade in tape.trades(product, hour, hour + HOUR)]
            holes = [hole for hour in published for hole in tape.holes(product, hour, hour + HOUR)]
            row = candle(product, window, width, trades, holes)
            rows.append(row if len(published) == width // HOUR else row | {"status": "open"})
    return rows


def candle(product: str, start: datetime, width: timedelta, trades: Sequence[Trade], holes: Sequence[Hole]) -> Row:
    """Make one candle from its trades and from the holes that may touch it."""
    ordered = sorted(trades, key=lambda trade: (trade.time, trade.trade_id))
    prices = [trade.price for trade in ordered]
    traded = "complete" if ordered else "empty"
    status = "gap" if any(hole.touches(start, start + width) for hole in holes) else traded
    return VENUE | {
        "product_id": product,
        "window_start": start,
        "window_end": start + width,
        "open": prices[0] if prices else None,
        "high": max(prices, default=None),
        "low": min(prices, default=None),
        "close": prices[-1] if prices else None,
        "volume": sum((trade.size for trade in ordered), Decimal(0)),
        "trade_count": len(ordered),
        "vwap": vwap(ordered) if ordered else None,
        "status": status,
    }


def vwap(trades: Sequence[Trade]) -> Decimal:
    """Return sum(price * size) / sum(size), half up to 8 places; fractions, so that nothing is rounded twice."""
    amount = sum(Fraction(trade.price) * Fraction(trade.size) for trade in trades)
    mean = amount / sum(Fraction(trade.size) for trade in trades)
    return Decimal(math.floor(mean * 10**8 + Fraction(1, 2))).scaleb(-8)


def daily_metrics(tape: Tape, products: Iterable[str], hours: Iterable[datetime]) -> list[Row]:
    """Return a row per product and day over the given published hours.

    Volatility and drawdown are floats here; the table rounds them to 12 places.
    """
    days: dict[date, list[datetime]] = {}
    for hour in sorted(set(hours)):
        days.setdefault(hour.date(), []).append(hour)
    return [
        daily_metric(product, day, [trade for hour in of_day for trade in tape.trades(product, hour, hour + HOUR)])
        for product in sorted(products)
        for day, of_day in days.items()
    ]


def daily_metric(product: str, day: date, trades: Sequence[Trade]) -> Row:
    """Make one product's row of a day."""
    ordered = sorted(trades, key=lambda trade: (trade.time, trade.trade_id))
    prices = [trade.price for trade in ordered]
    closes = list({minute_of(trade.time): trade.price for trade in ordered}.values())
    returns = [math.log(later / earlier) for earlier, later in pairwise(closes)]
    return VENUE | {
        "product_id": product,
        "date": day,
        "open": prices[0] if prices else None,
        "high": max(prices, default=None),
        "low": min(prices, default=None),
        "close": prices[-1] if prices else None,
        "total_volume": sum((trade.size for trade in ordered), Decimal(0)),
        "total_trades": len(ordered),
        "volatility": statistics.stdev(returns) if len(returns) > 1 else None,
        "max_drawdown": drawdown(closes),
    }


def drawdown(closes: Sequence[Decimal]) -> float | None:
    """Return the largest (peak - later trough) / peak; None without a close."""
    worst, peak = None, Decimal(0)
    for close in closes:
        peak = max(peak, close)
        worst = max(worst or 0.0, float((peak - close) / peak))
    return worst


def price_latest(tape: Tape, products: Iterable[str], start: datetime, end: datetime) -> list[Row]:
    """Return the last price of each product that traded in [start, end)."""
    rows = []
    for product in sorted(products):
        if trades := tape.trades(product, start, end):
            newest = max(trades, key=lambda trade: (trade.time, trade.trade_id))
            rows.append(VENUE | {"product_id": product, "price": newest.price, "updated_at": newest.time})
    return rows


def windows(start: datetime, end: datetime, width: timedelta) -> list[datetime]:
    """Return the starts of the windows that make up [start, end)."""
    return [start + n * width for n in range((end - start) // width)]


def minute_of(moment: datetime) -> datetime:
    """Return the start of a moment's minute."""
    return moment.replace(second=0, microsecond=0)


__all__ = [
    "MINUTE",
    "candles",
    "daily_metrics",
    "price_latest",
    "silver_trades",
    "trade_gaps",
    "wide_candles",
    "windows",
]

"""A small market: trades and recordings with only the fields that a test is about."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from stack.replica.recordings import HOUR, Play, Recording, Span, Trade, microseconds, moment

FIVE = microseconds(datetime(2025, 11, 25, 5, tzinfo=UTC))


def trade(
    trade_id: int,
    after: int = 0,
    *,
    product: str = "BTC-USD",
    price: str = "100",
    size: str = "1",
    side: str = "buy",
) -> Trade:
    """Make a trade that happens so many microseconds after five o'clock; its sequence is ten times its id."""
    return Trade(product, trade_id, FIVE + after, price, size, side, 10 * trade_id)


def recording(*trades: Trade, hours: int = 1) -> Recording:
    """Make a recording of trades played at their own times."""
    plays = [Play(one.time, one) for one in trades]
    return Recording(plays, Span(moment(FIVE), moment(FIVE + hours * HOUR)), Counter())

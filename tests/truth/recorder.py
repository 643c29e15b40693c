"""Write trades as a feed sends them, in every form that a recording may have, with the faults that feeds have."""

from __future__ import annotations

import gzip
import json
import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import zstandard

from tests.truth.recording import TAKER, Trade
from tests.truth.tape import HOUR, hour_of

EDGE_PRODUCT = "LTC-USD"
"""A product of few trades, each of which stands on an edge."""

LATENCY = timedelta(milliseconds=44)


def edge_trades(first_hour: datetime) -> list[Trade]:
    """Give three hours of trades that are easy to get wrong.

    The first moment of an hour and the last microsecond of one, a shared moment whose ids say which came first, a
    vwap that ends on a half, a hole that lies across two hours, and hardly a minute with a trade. Before the first id
    there is room for those of the last hour once more.
    """
    facts = (
        (9, timedelta(0), "84.00", "1", "buy"),
        (10, timedelta(minutes=7, seconds=59, microseconds=999_999), "1.00000000", "2.5", "sell"),
        (11, timedelta(minutes=8), "1.00000001", "2.5", "sell"),
        (12, timedelta(minutes=8, seconds=30), "1.00000000", "2.5", "buy"),
        (13, timedelta(minutes=20, seconds=5), "90.10", "0.00000001", "buy"),
        (14, timedelta(minutes=20, seconds=5), "89.90", "12345.12345678", "buy"),
        (15, timedelta(minutes=20, seconds=5), "90.00", "0.1", "sell"),
        (16, timedelta(minutes=59, seconds=59, microseconds=999_999), "90.01", "3", "sell"),
        (17, timedelta(minutes=60), "90.02", "4", "buy"),
        (18, timedelta(minutes=119, seconds=30), "90.03", "5", "sell"),
        (22, timedelta(minutes=121), "90.04", "6", "buy"),
        (23, timedelta(minutes=179, seconds=59, microseconds=999_999), "90.05", "7", "buy"),
    )
    return [
        Trade(EDGE_PRODUCT, trade_id, first_hour + after, Decimal(price), Decimal(size), side)
        for trade_id, after, price, size, side in facts
    ]


def with_an_hour_before(recording: Mapping[str, Sequence[Trade]]) -> dict[str, list[Trade]]:
    """Return trades with those of their last hour once more, before the first: what a lake may fetch of its past.

    It is also what the tape goes on with at its end, and so what is traded while tests run: an hour without long holes.
    """
    first_hour = hour_of(min(trades[0].time for trades in recording.values()))
    last_hour = hour_of(max(trades[-1].time for trades in recording.values()))
    earlier = last_hour + HOUR - first_hour
    longer = {}
    for product, trades in recording.items():
        once = [trade for trade in trades if hour_of(trade.time) == last_hour]
        below = once[-1].trade_id + 1 - trades[0].trade_id
        before = [replace(trade, trade_id=trade.trade_id - below, time=trade.time - earlier) for trade in once]
        longer[product] = [*before, *trades]
    return longer


def write_recording(
    folder: Path,
    recording: Mapping[str, Sequence[Trade]],
    *,
    seed: int,
    repeated: float = 0.01,
    missing: float = 0.0005,
) -> Path:
    """Write a folder of frames, one file an hour: bare matches, gzipped tickers, matches in an envelope under zstd.

    Args:
        folder: Where to write; made if it is not there.
        recording: The trades of each product, ordered by id.
        seed: What decides which frames are repeated or missing.
        repeated: The share of frames that the feed sends a second time, a little later.
        missing: The share of trades that neither feed nor history has.
    """
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    trades = sorted((t for ts in recording.values() for t in ts), key=lambda t: (t.time, t.product_id, t.trade_id))
    first_hour = hour_of(trades[0].time)
    sent: list[Trade] = []
    for trade in trades:
        if trade.product_id != EDGE_PRODUCT and chance.random() < missing:
            continue
        sent.append(trade)
        if chance.random() < repeated:
            sent.append(chance.choice(sent[-5:]))
    hours: dict[datetime, list[Trade]] = {}
    for trade in sent:
        hours.setdefault(hour_of(trade.time), []).append(trade)
    for number, hour in enumerate(sorted(hours)):
        name = f"{hour:%Y-%m-%dT%H}.ndjson"
        if number % 3 == 0:
            before = Trade("BTC-USD", 1, first_hour - timedelta(seconds=1), Decimal(1), Decimal(1), "buy")
            preamble = [{"type": "subscriptions", "channels": []}, match(before, chance) | {"type": "last_match"}]
            (folder / name).write_bytes(lines([*preamble, *(match(trade, chance) for trade in hours[hour])]))
        elif number % 3 == 1:
            (folder / f"{name}.gz").write_bytes(gzip.compress(lines(ticker(trade) for trade in hours[hour])))
        else:
            wrapped = ({"ts": (t.time + LATENCY).timestamp(), "raw": json.dumps(match(t, chance))} for t in hours[hour])
            (folder / f"{name}.zst").write_bytes(zstandard.compress(lines(wrapped)))
    return folder


def lines(records: Iterable[Mapping[str, object]]) -> bytes:
    """Write one JSON object a line."""
    return "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records).encode()


def match(trade: Trade, chance: random.Random) -> dict[str, object]:
    """Write a trade as the channel `matches` sends it; its side is the maker's."""
    return {
        "type": "match",
        "trade_id": trade.trade_id,
        "maker_order_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "taker_order_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "side": TAKER[trade.side],
        "size": f"{trade.size:f}",
        "price": f"{trade.price:f}",
        "product_id": trade.product_id,
        "sequence": 10 * trade.trade_id,
        "time": wire_time(trade.time),
    }


def ticker(trade: Trade) -> dict[str, object]:
    """Write a trade as the channel `ticker` sends it; its side is the taker's."""
    return {
        "type": "ticker",
        "sequence": 10 * trade.trade_id,
        "product_id": trade.product_id,
        "price": f"{trade.price:f}",
        "best_bid": f"{trade.price:f}",
        "best_ask": f"{trade.price:f}",
        "side": trade.side,
        "time": wire_time(trade.time),
        "trade_id": trade.trade_id,
        "last_size": f"{trade.size:f}",
    }


def wire_time(moment: datetime) -> str:
    """Write a moment as the feed does, always with six digits."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

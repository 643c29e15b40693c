"""The facts of a recording: each trade once, whatever form its frames have."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import zstandard

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TRADES = ("match", "last_match", "ticker")
TAKER = {"buy": "sell", "sell": "buy"}
"""The taker's side for each side of a maker."""


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade as the market knows it; `side` is the taker's."""

    product_id: str
    trade_id: int
    time: datetime
    price: Decimal
    size: Decimal
    side: str


def read_recording(path: Path) -> dict[str, list[Trade]]:
    """Read the trades of every product, ordered by id, each once.

    Of copies the first counts. Files of a folder are read in the order of their names. A `last_match`, the last trade
    before a subscription, counts if it falls into the hours of the other trades.
    """
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    trades: dict[tuple[str, int], Trade] = {}
    before_subscription: list[Trade] = []
    for file in files:
        for record in records(file):
            trade = fact(record) if "time_us" in record else parse(record) if record["type"] in TRADES else None
            if record.get("type") == "last_match" and trade is not None:
                before_subscription.append(trade)
            elif trade is not None:
                trades.setdefault((trade.product_id, trade.trade_id), trade)
    first_hour = min(trade.time for trade in trades.values()).replace(minute=0, second=0, microsecond=0)
    for trade in before_subscription:
        if trade.time >= first_hour:
            trades.setdefault((trade.product_id, trade.trade_id), trade)
    by_product: dict[str, list[Trade]] = {}
    for _, trade in sorted(trades.items()):
        by_product.setdefault(trade.product_id, []).append(trade)
    return by_product


def twice(path: Path) -> set[tuple[str, int]]:
    """Return product and id of each trade whose frame the recording has more than once."""
    files = [file for file in path.iterdir() if file.is_file()]
    frames = (record for file in files for record in records(file) if record["type"] in TRADES)
    counts = Counter((frame["product_id"], frame["trade_id"]) for frame in frames)
    return {trade for trade, count in counts.items() if count > 1}


def records(file: Path) -> Iterator[Mapping[str, Any]]:
    """Give what one file holds: rows of a table of facts, or frames out of whatever envelope gives their receipt."""
    with file.open("rb") as raw:
        if file.suffix == ".zst":
            stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        elif file.suffix == ".gz":
            stream = gzip.GzipFile(fileobj=raw)
        else:
            stream = raw
        lines = io.TextIOWrapper(stream, encoding="utf-8")
        if ".csv" in file.suffixes:
            yield from csv.DictReader(lines)
        else:
            yield from (unwrapped(json.loads(line)) for line in lines if line.strip())


def unwrapped(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take the frame out of its envelope."""
    frame = record.get("raw", record.get("raw_message", record))
    return json.loads(frame) if isinstance(frame, str) else frame


def fact(row: Mapping[str, str]) -> Trade:
    """Read a row of a table of facts: microseconds since 1970, the maker's side."""
    return Trade(
        product_id=row["product_id"],
        trade_id=int(row["trade_id"]),
        time=EPOCH + timedelta(microseconds=int(row["time_us"])),
        price=Decimal(row["price"]),
        size=Decimal(row["size"]),
        side=TAKER[row["side"]],
    )


def parse(frame: Mapping[str, Any]) -> Trade:
    """Read the trade of a `match` (its side is the maker's) or of a `ticker` (its side is the taker's)."""
    is_ticker = frame["type"] == "ticker"
    return Trade(
        product_id=frame["product_id"],
        trade_id=frame["trade_id"],
        time=datetime.fromisoformat(frame["time"]),
        price=Decimal(frame["price"]),
        size=Decimal(frame["last_size"] if is_ticker else frame["size"]),
        side=frame["side"] if is_ticker else TAKER[frame["side"]],
    )

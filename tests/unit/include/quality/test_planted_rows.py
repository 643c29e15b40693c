"""Rows of many kinds that are wrong, each planted in a true hour of random trades: some rule of a gate breaks."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from include.contracts import bronze, gold, silver
from include.contracts.table import Layer
from include.orchestration.reconciling import compare
from include.quality import GATES, reconciliation
from include.quality.gold import HOURS_OF_DAY
from include.quality.judgement import Outcome, judge
from include.quality.silver import HOURS_BEFORE
from tests.unit.include.quality.rows import NINE, frame

pytestmark = pytest.mark.unit

Row = dict[str, Any]
Lake = dict[str, list[Row]]
"""The rows of one hour, by the frame that they are in."""
Plant = Callable[[Lake, random.Random], None]

MINUTE = timedelta(minutes=1)
LAST_PLACE = Decimal("0.00000001")
PRICES = ("open", "high", "low", "close")
CANDLES = ("1m", "5m", "1h", "4h", "1d")
PRODUCTS = ("BTC-USD", "ETH-USD")


def true_hour(chance: random.Random) -> Lake:
    """Make an hour in which two products trade in about half of the minutes, and all that follows from the trades."""
    lake: Lake = {name: [] for name in ("bronze", "trades", "quarantine", "gaps", "hours", *CANDLES, "day", "latest")}
    for product_id in PRODUCTS:
        price = Decimal(chance.randrange(10**8, 10**12)) * LAST_PLACE
        trades = []
        for number, second in enumerate(sorted(chance.sample(range(3600), 60))):
            price += Decimal(chance.randrange(-(10**5), 10**5)) * LAST_PLACE
            size = Decimal(chance.randrange(1, 10**9)) * LAST_PLACE
            at = NINE + timedelta(seconds=second, microseconds=chance.randrange(10**6))
            facts = {
                "trade_id": number,
                "trade_ref": str(number),
                "sequence": number,
                "side": chance.choice(["buy", "sell"]),
            }
            trades.append({"product_id": product_id, "price": price, "size": size, "trade_time": at, **facts})
        lake["trades"] += trades
        place = {
            "product_id": product_id,
            "_kafka_topic": "coinbase.raw.trades",
            "_kafka_partition": len(lake["hours"]),
        }
        lake["bronze"] += [place | {"trade_id": row["trade_ref"], "_kafka_offset": row["trade_id"]} for row in trades]
        lake["hours"].append(
            {"product_id": product_id, "hour_start": NINE, "is_closed": True, "trade_count": len(trades)}
        )
        for name, width in (("1m", MINUTE), ("5m", 5 * MINUTE)):
            for start in (NINE + number * width for number in range(timedelta(hours=1) // width)):
                within = [row for row in trades if start <= row["trade_time"] < start + width]
                lake[name].append(candle(product_id, within) | {"window_start": start})
        whole = candle(product_id, trades)
        lake["1h"].append(whole | {"window_start": NINE})
        lake["4h"].append(whole | {"window_start": NINE.replace(hour=8), "status": "open"})
        lake["1d"].append(whole | {"window_start": NINE.replace(hour=0), "status": "open"})
        sums = {"total_volume": whole["volume"], "total_trades": whole["trade_count"]}
        lake["day"].append(whole | sums | {"date": NINE.date(), "max_drawdown": None, "volatility": None})
        lake["latest"].append(
            {"product_id": product_id, "price": whole["close"], "updated_at": trades[-1]["trade_time"]}
        )
    return lake


def candle(product_id: str, trades: list[Row]) -> Row:
    prices, volume = [row["price"] for row in trades], sum((row["size"] for row in trades), Decimal(0))
    facts = {"product_id": product_id, "volume": volume, "trade_count": len(trades)}
    if not trades:
        return facts | dict.fromkeys((*PRICES, "vwap")) | {"status": "empty"}
    worth = sum(row["price"] * row["size"] for row in trades)
    return facts | {
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "vwap": (worth / volume).quantize(LAST_PLACE),
        "status": "complete",
    }


def blocking(lake: Lake, layer: Layer) -> set[str]:
    """Judge the hour by the gate of a layer; return the rules that block it."""
    read = {
        "bronze_trades": frame(bronze.TRADES, *lake["bronze"]),
        "silver_trades": frame(silver.TRADES, *lake["trades"]),
        "silver_trades_quarantine": frame(silver.TRADES_QUARANTINE, *lake["quarantine"]),
        "silver_trade_gaps": frame(silver.TRADE_GAPS, *lake["gaps"]),
        "silver_product_hours": frame(silver.PRODUCT_HOURS, *lake["hours"]),
        HOURS_BEFORE: frame(gold.OHLCV_1H),
        **{f"gold_ohlcv_{name}": frame(gold.OHLCV_1M, *lake[name]) for name in CANDLES},
        HOURS_OF_DAY: frame(gold.OHLCV_1H, *lake["1h"]),
        "gold_daily_metrics": frame(gold.DAILY_METRICS, *lake["day"]),
        "gold_price_latest": frame(gold.PRICE_LATEST, *lake["latest"]),
    }
    return {verdict.rule_id for verdict in judge(*GATES[layer], read) if verdict.outcome is Outcome.BLOCK}


def changed(table: str, **values: Any) -> Plant:
    """Give a row of a table other values; a function is given the row."""

    def plant(lake: Lake, chance: random.Random) -> None:
        # Of candles one with different prices, so that each of its values matters.
        row = chance.choice([row for row in lake[table] if row.get("high") != row.get("low") or "high" not in row])
        row.update({name: value(row) if callable(value) else value for name, value in values.items()})

    return plant


def repeated(table: str) -> Plant:
    return lambda lake, chance: lake[table].append(dict(chance.choice(lake[table])))


def lost(table: str) -> Plant:
    return lambda lake, chance: lake[table].remove(chance.choice(lake[table]))


def without_product(lake: Lake, chance: random.Random) -> None:
    product_id = chance.choice(PRODUCTS)
    lake["1m"] = [row for row in lake["1m"] if row["product_id"] != product_id]


def with_another_product(lake: Lake, chance: random.Random) -> None:
    lake["1m"] += [row | {"product_id": "XRP-USD"} for row in lake["1m"] if row["product_id"] == PRODUCTS[0]]


def a_minute_later(lake: Lake, chance: random.Random) -> None:
    for row in lake["1m"]:
        row["window_start"] += MINUTE


def prices_in_an_empty_minute(lake: Lake, chance: random.Random) -> None:
    row = chance.choice([row for row in lake["1m"] if row["open"] is None])
    row.update(dict.fromkeys((*PRICES, "vwap"), Decimal(1)))


def unread(lake: Lake, chance: random.Random) -> None:
    """Let one trade in ten have gone into quarantine for a price that is no number."""
    for row in chance.sample(lake["trades"], len(lake["trades"]) // 10):
        (received,) = (each for each in lake["bronze"] if is_of(each, row))
        lake["trades"].remove(row)
        lake["quarantine"].append(received | {"price": "NaN", "rule_id": "price_is_decimal", "hour_start": NINE})


def is_of(received: Row, trade: Row) -> bool:
    return (received["product_id"], received["trade_id"]) == (trade["product_id"], trade["trade_ref"])


SILVER = {
    "a trade twice": (repeated("trades"), {"grain_unique", "reconciles_with_bronze"}),
    "a trade lost": (lost("trades"), {"reconciles_with_bronze", "counts_silver"}),
    "a trade invented": (changed("trades", trade_ref="no such"), {"reconciles_with_bronze"}),
    "a trade of another product": (changed("trades", product_id="XRP-USD"), {"reconciles_with_bronze"}),
    "a price that was no number": (changed("trades", price=None), {"price_is_decimal"}),
    "a price of nothing": (changed("trades", price=Decimal(0)), {"price_positive"}),
    "a negative size": (changed("trades", size=Decimal(-1)), {"size_positive"}),
    "a side that is none": (changed("trades", side="b"), {"side_known"}),
    "an id that is no number": (changed("trades", trade_id=None), {"id_is_number"}),
    "no time": (changed("trades", trade_time=None), {"time_readable"}),
    "many prices that are no numbers": (unread, {"quarantine_small", "quarantine_within_share"}),
    "a product's hour lost": (lost("hours"), {"counts_silver"}),
    "a product's hour twice": (repeated("hours"), {"grain_unique"}),
    "a wrong count of trades": (changed("hours", trade_count=59), {"counts_silver"}),
}
GOLD = {
    "a candle twice": (repeated("1m"), {"grain_unique"}),
    "a candle lost": (lost("1m"), {"every_minute"}),
    "a product missing": (without_product, {"every_minute"}),
    "a product too many": (with_another_product, {"every_minute"}),
    "a candle of another market": (changed("1m", market="linear"), {"every_minute"}),
    "every candle a minute late": (a_minute_later, {"every_minute"}),
    "a candle on the one before": (changed("1m", window_start=NINE - MINUTE), {"every_minute"}),
    "high and low swapped": (
        changed("1m", high=lambda row: row["low"], low=lambda row: row["low"] + 1),
        {"high_is_highest", "low_is_lowest", "prices_silver"},
    ),
    "a close off by one in the last place": (
        changed("1m", close=lambda row: row["close"] + LAST_PLACE),
        {"prices_silver"},
    ),
    "a volume off by one in the last place": (
        changed("1m", volume=lambda row: row["volume"] + LAST_PLACE),
        {"counts_silver", "rolls_up_1m"},
    ),
    "no volume": (changed("1m", volume=None), {"present:volume"}),
    "a wrong count": (changed("1m", trade_count=lambda row: row["trade_count"] + 1), {"counts_silver"}),
    "a mean price above the highest": (changed("1m", vwap=lambda row: row["high"] + LAST_PLACE), {"vwap_inside"}),
    "a status that is none": (changed("1m", status="fine"), {"status_known", "status_ledger"}),
    "a gap that is none": (changed("1m", status="gap"), {"status_ledger"}),
    "prices without trades": (prices_in_an_empty_minute, {"priced_if_traded", "prices_silver"}),
    "an hour's volume off by one in the last place": (
        changed("1h", volume=lambda row: row["volume"] - LAST_PLACE),
        {"rolls_up_1m"},
    ),
    "an hour's candle lost": (lost("1h"), {"rolls_up_1m"}),
    "five minutes' candle lost": (lost("5m"), {"rolls_up_1m"}),
    "five minutes' close off by one in the last place": (
        changed("5m", close=lambda row: row["close"] + LAST_PLACE),
        {"rolls_up_1m"},
    ),
    "four hours' candle lost": (lost("4h"), {"rolls_up_1h"}),
    "a day's candle that claims to be whole": (changed("1d", status="complete"), {"status_1h"}),
    "an hour's candle twice": (repeated("1h"), {"grain_unique"}),
    "a wrong day": (changed("day", total_trades=59), {"adds_up_hours"}),
    "a day lost": (lost("day"), {"adds_up_hours"}),
    "a newest price before the hour's last": (changed("latest", updated_at=NINE), {"not_behind"}),
    "no newest price": (lost("latest"), {"not_behind"}),
    "a newest price of nothing": (changed("latest", price=Decimal(0)), {"price_positive"}),
}


@pytest.mark.parametrize("layer", [Layer.SILVER, Layer.GOLD])
def test_a_true_hour_is_not_blocked(layer: Layer, seed: int):
    assert blocking(true_hour(random.Random(seed)), layer) == set()


@pytest.mark.parametrize("planted", SILVER)
def test_a_row_planted_in_silver_blocks_the_hour(planted: str, seed: int):
    plant, expected = SILVER[planted]

    assert expected <= blocking(spoiled(plant, seed), Layer.SILVER)


@pytest.mark.parametrize("planted", GOLD)
def test_a_row_planted_in_gold_blocks_the_hour(planted: str, seed: int):
    plant, expected = GOLD[planted]

    assert expected <= blocking(spoiled(plant, seed), Layer.GOLD)


def spoiled(plant: Plant, seed: int) -> Lake:
    chance = random.Random(seed)
    lake = true_hour(chance)
    plant(lake, chance)
    return lake


def test_a_trade_changed_on_its_way_to_silver_is_seen_only_beside_the_exchanges_own_candles(seed: int):
    """The gates compare Silver with Bronze by ids: a price that is a price passes, and so do candles made of it."""
    theirs, ours = true_hour(random.Random(seed)), true_hour(random.Random(seed))
    for row in ours["trades"]:
        row["price"] += 1
    for name in (*CANDLES, "day", "latest"):
        for row in ours[name]:
            row.update(
                {column: row[column] + 1 for column in (*PRICES, "vwap", "price") if row.get(column) is not None}
            )
    assert blocking(ours, Layer.SILVER) | blocking(ours, Layer.GOLD) == set()

    keys = {"venue": "coinbase", "market": "spot"}
    compared = compare([keys | row for row in ours["1m"]], [keys | row for row in theirs["1m"] if row["trade_count"]])
    rows = frame(gold.CANDLE_RECONCILIATION, *({**row, "reconciled_at": NINE} for row in compared))
    verdicts = judge(reconciliation.TABLES, reconciliation.CHECKS, {"gold_candle_reconciliation": rows})

    found = {verdict.rule_id: verdict.outcome for verdict in verdicts if verdict.outcome is not Outcome.PASS}
    assert found == {"equals_exchange": Outcome.IGNORE, "mostly_equals_exchange": Outcome.WARN}

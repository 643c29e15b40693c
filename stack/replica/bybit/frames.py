"""Bybit's words: every frame of its public feeds, key by key in the order of its market, and its REST answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from include.contracts.topics import BYBIT_TRADES
from stack.replica.frames import with_field, with_other_type
from stack.replica.plan import FeedName
from stack.replica.recordings import OTHER_SIDE, Trade
from stack.replica.tape import Day

CONNECTION = "replica"
SPOT_IDS = 2_280_000_000_000_000_000
"""Where the ids of spot trades begin: they have 19 digits."""
TICKERS = "tickers"
TRADES = "publicTrade"


class Market(StrEnum):
    """A section of the exchange with a feed of its own."""

    LINEAR = "linear"
    SPOT = "spot"


class Printed(msgspec.Struct, frozen=True):
    """A trade and the time that its frame says, in milliseconds: a feed's times never run back."""

    trade: Trade
    time: int


def trades(market: Market, symbol: str, printed: Sequence[Printed], ts: int) -> bytes:
    """Make a frame of trades; those of one millisecond share their `seq`, as those of one sweep do."""
    return _trades(symbol, [_element(market)(symbol, one) for one in printed], ts)


def _trades(symbol: str, data: Sequence[object], ts: int) -> bytes:
    return _encode({"topic": f"{TRADES}.{symbol}", "type": "snapshot", "ts": ts, "data": data})


def _linear_trade(symbol: str, printed: Printed) -> dict[str, Any]:
    trade = printed.trade
    digest = blake2b(f"{symbol} {trade.trade_id}".encode(), digest_size=16).digest()
    return {
        "T": printed.time, "s": symbol, "S": _taker(trade), "v": trade.size, "p": trade.price, "L": "ZeroPlusTick",
        "i": str(UUID(bytes=digest, version=5)), "BT": False, "RPI": False, "seq": printed.time,
    }  # fmt: skip


def _spot_trade(symbol: str, printed: Printed) -> dict[str, Any]:
    trade = printed.trade
    return {
        "i": str(SPOT_IDS + trade.trade_id), "T": printed.time, "p": trade.price, "v": trade.size, "S": _taker(trade),
        "seq": printed.time, "s": symbol, "BT": False, "RPI": False,
    }  # fmt: skip


class Words:
    """How one connection writes what faults send beside or in place of a trade; a field may have its name or ours.

    Args:
        symbols: The symbols by the tape's products.
        time: Says the time that a trade's frame has, in milliseconds.
    """

    def __init__(self, market: Market, symbols: Mapping[str, str], time: Callable[[Trade], int]) -> None:
        self._market = market
        self._symbols = symbols
        self._time = time

    @property
    def feed(self) -> FeedName:
        """Whose words they are."""
        return "bybit/linear" if self._market is Market.LINEAR else "bybit/spot"

    def product(self, trade: Trade) -> str:
        """Name a trade's symbol."""
        return self._symbols[trade.product_id]

    def whole(self, trade: Trade) -> bytes:
        """Write a frame of one trade."""
        return self._frame(trade, self._encoded(trade))

    def with_new_field(self, trade: Trade, name: str) -> bytes:
        """Write a frame of one trade that has one more field."""
        return self._frame(trade, with_field(self._encoded(trade), name, b'"maker"'))

    def with_other_type(self, trade: Trade, name: str) -> bytes:
        """Write a frame of one trade in which a field has another type."""
        return self._frame(trade, with_other_type(self._encoded(trade), BYBIT_TRADES.fields.get(name, name)))

    def unheard_of(self, trade: Trade) -> bytes:
        """Write a frame of a topic that nobody knows."""
        topic = f"unheardOf.{self.product(trade)}"
        return _encode({"topic": topic, "type": "snapshot", "ts": self._time(trade), "data": []})

    def _encoded(self, trade: Trade) -> bytes:
        return _encode(_element(self._market)(self.product(trade), Printed(trade, self._time(trade))))

    def _frame(self, trade: Trade, element: bytes) -> bytes:
        return _trades(self.product(trade), [msgspec.Raw(element)], self._time(trade))


def recent_trades(market: Market, symbol: str, printed: Sequence[Printed], ts: int) -> bytes:
    """Make the answer of REST with a symbol's newest trades, as they are given: the newest first."""
    listed = [
        {
            "execId": element["i"], "symbol": symbol, "price": element["p"], "size": element["v"], "side": element["S"],
            "time": str(element["T"]), "isBlockTrade": False, "isRPITrade": False, "seq": str(element["seq"]),
        }
        for element in (_element(market)(symbol, one) for one in printed)
    ]  # fmt: skip
    return rest_answer(0, "OK", {"category": market, "list": listed}, ts)


def rest_answer(code: int, words: str, result: dict[str, Any], ts: int) -> bytes:
    """Make an answer of REST; a code other than 0 is a refusal."""
    return _encode({"retCode": code, "retMsg": words, "result": result, "retExtInfo": {}, "time": ts})


def _element(market: Market) -> Callable[[str, Printed], dict[str, Any]]:
    return _linear_trade if market is Market.LINEAR else _spot_trade


def _taker(trade: Trade) -> str:
    return OTHER_SIDE[trade.side].capitalize()


def state(market: Market, symbol: str, last: Trade, day: Day, step: str) -> dict[str, str]:
    """Return what a symbol's ticker says after a trade; only the linear market tells the best offers.

    Args:
        step: The product's smallest price difference.
    """
    known = {
        "symbol": symbol,
        "lastPrice": last.price,
        "prevPrice24h": day.open_24h,
        "highPrice24h": day.high_24h,
        "lowPrice24h": day.low_24h,
        "volume24h": f"{day.volume_24h:f}",
    }
    if market is Market.SPOT:
        return known
    ask = f"{Decimal(last.price) + Decimal(step):f}"
    return known | {"bid1Price": last.price, "bid1Size": last.size, "ask1Price": ask, "ask1Size": last.size}


def ticker(kind: str, fields: dict[str, str], ts: int) -> bytes:
    """Make a ticker: all of a state, as `snapshot`, or what changed of it, as `delta`."""
    return _encode({"topic": f"{TICKERS}.{fields['symbol']}", "type": kind, "data": fields, "cs": ts, "ts": ts})


def answer(market: Market, operation: str, req_id: str, refusal: str | None = None) -> bytes:
    """Acknowledge a request, answer a ping, or refuse."""
    words = {("subscribe", Market.SPOT): "subscribe"}.get((operation, market), "pong" if operation == "ping" else "")
    said = {"success": refusal is None, "ret_msg": refusal or words, "conn_id": CONNECTION}
    named = {"req_id": req_id} if market is Market.LINEAR else {}
    return _encode(said | named | {"op": operation})


def _encode(frame: dict[str, Any]) -> bytes:
    return msgspec.json.encode(frame)

"""Frames and replies as Bybit writes them; an id is also the second after nine in which its trade was made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

START = datetime(2026, 11, 20, 9, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(trade_id: int) -> datetime:
    return START + timedelta(seconds=trade_id)


def milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def trade(trade_id: int, symbol: str = "BTCUSDT") -> bytes:
    return msgspec.json.encode(
        {
            "T": milliseconds(time_of(trade_id)), "s": symbol, "S": "Sell", "v": "0.004", "p": "65114.20",
            "L": "MinusTick", "i": f"a9188a0a-{trade_id}", "BT": False, "RPI": False, "seq": 753843954913,
        }
    )  # fmt: skip


def trades(*elements: bytes, symbol: str = "BTCUSDT") -> bytes:
    head = f'{{"topic":"publicTrade.{symbol}","type":"snapshot","ts":1786310819681,"data":['
    return head.encode() + b",".join(elements) + b"]}"


def ticker(kind: str, ts: int = 1786310817583, symbol: str = "BTCUSDT", **fields: str) -> bytes:
    return msgspec.json.encode(
        {"topic": f"tickers.{symbol}", "type": kind, "data": {"symbol": symbol} | fields, "cs": 753843900397, "ts": ts}
    )


def ack(symbol: str = "BTCUSDT", *, refusal: str | None = None) -> bytes:
    return msgspec.json.encode(
        {"success": refusal is None, "ret_msg": refusal or "", "conn_id": "d8bu", "req_id": symbol, "op": "subscribe"}
    )


def recent(trade_id: int, symbol: str = "BTCUSDT") -> bytes:
    """The same trade in a reply of REST."""
    return msgspec.json.encode(
        {
            "execId": f"a9188a0a-{trade_id}", "symbol": symbol, "price": "65114.20", "size": "0.004", "side": "Sell",
            "time": str(milliseconds(time_of(trade_id))), "isBlockTrade": False, "isRPITrade": False,
            "seq": "753843954913",
        }
    )  # fmt: skip


def reply(*elements: bytes) -> bytes:
    """The answer of REST, the newest first."""
    head = b'{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":['
    return head + b",".join(elements) + b']},"retExtInfo":{},"time":1672053054358}'

from __future__ import annotations

from decimal import Decimal

import pytest

from stack.replica import frames
from stack.replica.bybit import frames as bybit_frames
from stack.replica.bybit.frames import Market, Printed
from stack.replica.tape import Day
from streaming.bybit import messages as bybit
from streaming.bybit.parse import parse_frame
from streaming.coinbase import messages as coinbase
from streaming.drift import Drift
from tests.unit.stack.replica.market import trade

pytestmark = pytest.mark.unit

DAY = Day(open_24h="1", low_24h="1", high_24h="1", volume_24h=Decimal(1), volume_30d=Decimal(1))


def test_no_field_of_coinbases_frames_is_new_to_the_producer():
    drift, one = Drift(coinbase.KNOWN_FIELDS), trade(7)

    drift.look("match", frames.match(one), "spot")
    drift.look("ticker", frames.ticker(one, DAY, "0.01"), "spot")
    drift.look("heartbeat", frames.heartbeat("BTC-USD", one, one.time), "spot")
    drift.look("status", frames.status([frames.product("BTC-USD", ["100.01"], ["1"])]), "spot")

    assert drift.counts == {}


@pytest.mark.parametrize("market", Market)
def test_no_field_of_bybits_frames_is_new_to_the_producer(market):
    drift, one = Drift(bybit.KNOWN_FIELDS), trade(7)
    traded = parse_frame(bybit_frames.trades(market, "BTCUSDT", [Printed(one, 1)], 1))
    ticker = bybit_frames.ticker("snapshot", bybit_frames.state(market, "BTCUSDT", one, DAY, "0.01"), 1)

    drift.look("publicTrade", traded.elements[0].raw, market)
    drift.look("tickers", ticker, market, parse_frame(ticker).fields)

    assert drift.counts == {}

import pytest

from include.settings import Settings

pytestmark = pytest.mark.unit


def test_bybit_is_not_followed_unless_it_is_asked_for():
    assert Settings(products=("BTC-USD",)).followed == (("coinbase", "spot", "BTC-USD"),)


def test_each_market_of_bybit_has_symbols_of_its_own(monkeypatch):
    monkeypatch.setenv("LAKE_BYBIT_LINEAR", "BTCUSDT, ETHUSDT")
    monkeypatch.setenv("LAKE_BYBIT_SPOT", "BTCUSDT")

    assert Settings(products=(), follow_bybit=True).followed == (
        ("bybit", "linear", "BTCUSDT"),
        ("bybit", "linear", "ETHUSDT"),
        ("bybit", "spot", "BTCUSDT"),
    )


def test_a_market_without_symbols_has_no_feed():
    assert Settings(bybit_spot=(), exchange="live").bybit_ws == {"linear": "wss://stream.bybit.com/v5/public/linear"}


def test_the_replica_has_the_feeds_of_both_markets():
    assert Settings(exchange="replica").bybit_ws == {
        "linear": "ws://127.0.0.1:8765/bybit/v5/public/linear",
        "spot": "ws://127.0.0.1:8765/bybit/v5/public/spot",
    }

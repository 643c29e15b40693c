import pytest
from pydantic import ValidationError

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
    assert Settings(exchange="live").bybit_rest == "https://api.bybit.com"
    assert Settings(exchange="replica").bybit_rest == "http://127.0.0.1:8765/bybit"
    assert Settings(exchange="replica").bybit_ws == {
        "linear": "ws://127.0.0.1:8765/bybit/v5/public/linear",
        "spot": "ws://127.0.0.1:8765/bybit/v5/public/spot",
    }


def test_hours_do_not_wait_for_prices():
    assert Settings(products=(), follow_coingecko=True).followed == ()


def test_prices_are_of_as_many_coins_as_one_reply_can_hold(monkeypatch):
    monkeypatch.setenv("LAKE_COINGECKO_COINS", ", ".join(f"coin-{number}" for number in range(250)))
    assert len(Settings().coingecko_coins) == 250

    monkeypatch.setenv("LAKE_COINGECKO_COINS", ",".join(f"coin-{number}" for number in range(251)))
    with pytest.raises(ValidationError, match="at most 250"):
        Settings()


@pytest.mark.parametrize(
    ("exchange", "root"),
    [("live", "https://api.coingecko.com/api/v3"), ("replica", "http://127.0.0.1:8765/coingecko/api/v3")],
)
def test_prices_come_from_where_trades_come_from(exchange, root):
    assert Settings(exchange=exchange).coingecko_rest == root

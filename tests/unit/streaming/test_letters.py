import pytest

from streaming.bybit import letters as bybit
from streaming.coinbase import letters as coinbase
from streaming.coingecko import letters as coingecko
from streaming.letters import Letter, Piece, Place, StillUnreadableError, check_headers
from tests.unit.streaming.bybit.frames import recent, ticker, time_of, trade, trades
from tests.unit.streaming.coinbase.test_coinbase_feed import frame, heartbeat, match

pytestmark = pytest.mark.unit

HEADERS = {"source": b"ws", "venue": b"coinbase", "market": b"spot", "received_at": b"1795165201000000"}
REST = b'{"trade_id":9,"time":"2016-05-12T15:04:30.98209Z","price":"453.32","size":"0.01","side":"buy"}'


def letter(value: bytes, topic: str = "coinbase.dlq", key: str = "coinbase", **headers: bytes) -> Letter:
    return Letter(Place(topic, 0, 17), key, value, HEADERS | headers)


def pieces(found: list[Piece]) -> list[tuple]:
    return [(piece.topic, piece.key, piece.value, piece.frame_index) for piece in found]


@pytest.mark.parametrize(
    ("value", "topic", "key"),
    [
        (match(8), "coinbase.raw.trades", "BTC-USD"),
        (match(8, kind="last_match"), "coinbase.raw.trades", "BTC-USD"),
        (frame("ticker", product_id="BTC-USD", time="2026-11-20T09:00:00Z"), "coinbase.raw.tickers", "BTC-USD"),
        (frame("status", products=[], currencies=[]), "coinbase.raw.status", "coinbase"),
    ],
)
def test_a_frame_that_can_be_read_today_becomes_the_record_that_it_would_have_been(value, topic, key):
    assert pieces(coinbase.reread(letter(value), {"BTC-USD"})) == [(topic, key, value, 0)]


def test_a_frame_that_can_be_read_and_is_not_kept_becomes_nothing():
    assert coinbase.reread(letter(heartbeat(8)), {"BTC-USD"}) == []


def test_a_trade_of_rest_goes_to_the_product_that_was_asked_for():
    of_page = letter(REST, source=b"rest", product_id=b"ETH-USD")
    of_bronze = letter(REST, "coinbase.raw.trades", "BTC-USD", source=b"rest")

    assert pieces(coinbase.reread(of_page, {"ETH-USD"})) == [("coinbase.raw.trades", "ETH-USD", REST, 0)]
    assert pieces(coinbase.reread(of_bronze, {"BTC-USD"})) == [("coinbase.raw.trades", "BTC-USD", REST, 0)]


def test_a_recent_trade_of_bybit_is_read_as_rest_has_it():
    of_reply = letter(recent(1), "bybit.dlq", "bybit", source=b"rest", frame_index=b"4")

    assert pieces(bybit.reread(of_reply, {"BTCUSDT"})) == [("bybit.raw.trades", "BTCUSDT", recent(1), 4)]


@pytest.mark.parametrize(
    ("unreadable", "words"),
    [
        (letter(match(8)[:-9]), "truncated"),
        (letter(match(8, "X-USD")), "X-USD is not followed"),
        (letter(frame("unheard_of")), "unheard_of is a type that nobody knows"),
        (letter(REST, source=b"rest"), "does not say of which product"),
        (letter(b"{}", source=b"rest", product_id=b"BTC-USD"), "missing required field"),
        (letter(REST + b"," + REST, source=b"rest", product_id=b"BTC-USD"), "not one trade"),
    ],
)
def test_what_cannot_be_read_at_coinbase_says_why(unreadable, words):
    with pytest.raises(StillUnreadableError, match=words):
        coinbase.reread(unreadable, {"BTC-USD"})


def test_a_frame_of_bybit_becomes_a_record_for_each_trade():
    found = bybit.reread(letter(trades(trade(1), trade(2)), "bybit.dlq"), {"BTCUSDT"})

    assert pieces(found) == [("bybit.raw.trades", "BTCUSDT", trade(number), number - 1) for number in (1, 2)]
    assert found[1].time == time_of(2)


def test_a_trade_of_a_frame_keeps_its_place():
    found = bybit.reread(letter(trade(3), "bybit.dlq", frame_index=b"7"), {"BTCUSDT"})

    assert pieces(found) == [("bybit.raw.trades", "BTCUSDT", trade(3), 7)]


def test_a_tickers_snapshot_is_a_state_and_a_state_that_bronze_refused_is_one_already():
    state = b'{"symbol":"BTCUSDT","lastPrice":"1"}'
    [snapshot] = bybit.reread(letter(ticker("snapshot", lastPrice="1"), "bybit.dlq"), {"BTCUSDT"})
    refused = letter(state, "bybit.raw.tickers", "BTCUSDT")

    assert (snapshot.topic, snapshot.key) == ("bybit.raw.tickers", "BTCUSDT")
    assert b'"lastPrice":"1"' in snapshot.value
    assert pieces(bybit.reread(refused, {"BTCUSDT"})) == [("bybit.raw.tickers", "BTCUSDT", state, 0)]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (trades(trade(1))[:50], "truncated"),
        (trades(trade(1), b'{"i":7}'), "trade of a frame"),
        (b'{"i":7}', "trade of a frame"),
        (ticker("delta", lastPrice="1"), "whose state of then is not known"),
        (b'{"topic":"orderbook.1.BTCUSDT"}', "orderbook is a type that nobody knows"),
    ],
)
def test_what_cannot_be_read_at_bybit_says_why_and_a_frame_is_taken_whole_or_not_at_all(value, words):
    with pytest.raises(StillUnreadableError, match=words):
        bybit.reread(letter(value, "bybit.dlq"), {"BTCUSDT"})


def test_a_record_keeps_where_it_came_from_and_names_its_letter():
    one = letter(match(8), reason=b"old", product_id=b"BTC-USD")
    [piece] = coinbase.reread(one, {"BTC-USD"})

    assert dict(piece.headers(one)) == HEADERS | {"frame_index": b"0", "replay_of": b"coinbase.dlq/0/17"}


def test_a_letter_that_does_not_say_where_it_came_from_stays():
    with pytest.raises(StillUnreadableError, match="source, venue, market, received_at"):
        check_headers(Letter(Place("coinbase.raw.trades", 0, 1), "BTC-USD", match(8), {}))


def test_a_place_is_read_as_it_is_written():
    assert str(Place.of("coinbase.dlq/0/17")) == "coinbase.dlq/0/17"
    with pytest.raises(ValueError, match="is not like"):
        Place.of("coinbase.dlq 17")


def test_a_reply_of_prices_and_a_coin_of_one_are_read_each_in_its_place():
    coin = b'{"id":"bitcoin","current_price":1.50,"last_updated":"2026-11-20T09:00:00Z"}'
    other = coin.replace(b"bitcoin", b"ripple")

    assert pieces(coingecko.reread(letter(b"[%s,%s]" % (coin, other), "coingecko.dlq"), ())) == [
        ("coingecko.raw.prices", "bitcoin", coin, 0),
        ("coingecko.raw.prices", "ripple", other, 1),
    ]
    assert pieces(coingecko.reread(letter(coin, "coingecko.dlq", frame_index=b"3"), ())) == [
        ("coingecko.raw.prices", "bitcoin", coin, 3)
    ]


@pytest.mark.parametrize("value", [b"[", b"{}", b"7", b'[{"id":7}]'])
def test_prices_that_are_none_stay(value):
    with pytest.raises(StillUnreadableError):
        coingecko.reread(letter(value, "coingecko.dlq"), ())

from datetime import UTC, datetime

import msgspec
import pytest

from streaming.bybit.messages import Ack, Pong
from streaming.bybit.parse import (
    PING,
    TICK,
    Ticker,
    Trade,
    Trades,
    UnknownType,
    UnreadableError,
    UnreadableTrade,
    parse_frame,
    parse_reply,
    subscribe,
)
from streaming.uncounted import RecentTrade
from tests.unit.streaming.bybit.frames import recent, reply, time_of

pytestmark = pytest.mark.unit

LINEAR_TRADE = (
    b'{"T":1786310819680,"s":"BTCUSDT","S":"Sell","v":"0.004","p":"65114.20","L":"MinusTick",'
    b'"i":"a9188a0a-82bc-50de-be60-03eedbe3cdd7","BT":false,"RPI":false,"seq":753843954913}'
)
SPOT_TRADE = (
    b'{"i":"2280000001739247417","T":1786310819681,"p":"65114.2","v":"0.000153","S":"Buy","seq":99141,"s":"BTCUSDT",'
    b'"BT":false,"RPI":false}'
)
TIME = datetime(2026, 8, 9, 21, 26, 59, 680_000, UTC)
LINEAR = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1786310819681,"data":[' + LINEAR_TRADE + b"]}"
SPOT = b'{"type":"snapshot","data":[' + SPOT_TRADE + b'],"ts":1786310819682,"topic":"publicTrade.BTCUSDT"}'
TICKER = (
    b'{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","bid1Price":"65114.20"},'
    b'"cs":753843907770,"ts":1786310817883}'
)


@pytest.mark.parametrize(
    ("frame", "element"),
    [
        (LINEAR, Trade("BTCUSDT", "a9188a0a-82bc-50de-be60-03eedbe3cdd7", TIME, LINEAR_TRADE)),
        (SPOT, Trade("BTCUSDT", "2280000001739247417", TIME + TICK, SPOT_TRADE)),
    ],
    ids=["linear, id a UUID", "spot, id a number, keys in another order"],
)
def test_a_trade_keeps_the_bytes_that_its_frame_has_of_it(frame, element):
    assert parse_frame(frame) == Trades("BTCUSDT", [element])


def test_the_trades_of_a_frame_keep_their_places_though_they_share_their_sequence_and_one_is_unreadable():
    broken = LINEAR_TRADE.replace(b"1786310819680", b'"soon"')
    frame = LINEAR.replace(LINEAR_TRADE, b" , ".join([LINEAR_TRADE, broken, LINEAR_TRADE]))

    first, second, third = parse_frame(frame).elements

    assert first == third
    assert second == UnreadableTrade(broken, "trade of a frame: Expected `int`, got `str` - at `$.T`")


def test_a_ticker_has_its_fields_as_written_with_the_frames_time_and_sequence():
    message = parse_frame(TICKER)

    assert isinstance(message, Ticker)
    assert (message.symbol, message.is_snapshot) == ("BTCUSDT", False)
    assert {name: bytes(value) for name, value in message.fields.items()} == {
        "symbol": b'"BTCUSDT"',
        "bid1Price": b'"65114.20"',
        "ts": b"1786310817883",
        "cs": b"753843907770",
    }


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b'{"success":true,"ret_msg":"","conn_id":"d8","req_id":"x","op":"subscribe"}', Ack(True, "", "x")),
        (b'{"success":true,"ret_msg":"subscribe","conn_id":"d8","op":"subscribe"}', Ack(True, "subscribe")),
        (
            b'{"success":false,"ret_msg":"error:handler not found,topic:publicTrade.X","req_id":"","op":"subscribe"}',
            Ack(False, "error:handler not found,topic:publicTrade.X"),
        ),
        (b'{"success":true,"ret_msg":"pong","conn_id":"d8","req_id":"","op":"ping"}', Pong()),
        (b'{"success":true,"ret_msg":"pong","conn_id":"d8","op":"ping"}', Pong()),
        (b'{"req_id":"","op":"pong","args":["1675418560633"],"conn_id":"d8"}', Pong()),
        (b'{"topic":"kline.1.BTCUSDT","data":[],"ts":1,"type":"snapshot"}', UnknownType("kline")),
        (b'{"op":"auth","success":true}', UnknownType("auth")),
    ],
)
def test_answers_are_told_apart_in_the_forms_of_both_markets_and_the_unknown_is_no_fault(frame, expected):
    assert parse_frame(frame) == expected


@pytest.mark.parametrize(
    ("frame", "reason", "symbol", "holds_trades"),
    [
        (b"", "truncated", None, True),
        (LINEAR[:60], "truncated", None, True),
        (b"\xff\xfe", "malformed", None, True),
        (b"[]", "object", None, True),
        (b'{"topic":7}', "topic", None, True),
        (b"{}", "neither topic nor op", None, True),
        (b'{"topic":"publicTrade.BTCUSDT","data":{}}', "publicTrade: Expected `array`", "BTCUSDT", True),
        (b'{"topic":"publicTrade.BTCUSDT"}', "data", "BTCUSDT", True),
        (TICKER.replace(b"1786310817883", b'"now"'), "tickers: Expected `int`", "BTCUSDT", False),
        (b'{"op":"subscribe"}', "subscribe: .*success", None, False),
    ],
)
def test_what_cannot_be_read_says_whose_trades_it_may_have_held(frame, reason, symbol, holds_trades):
    with pytest.raises(UnreadableError, match=reason) as caught:
        parse_frame(frame)

    assert (caught.value.symbol, caught.value.holds_trades) == (symbol, holds_trades)


@pytest.mark.parametrize(
    "broken",
    [
        LINEAR_TRADE.replace(b'"a9188a0a-82bc-50de-be60-03eedbe3cdd7"', b"7"),
        LINEAR_TRADE.replace(b'"a9188a0a-82bc-50de-be60-03eedbe3cdd7"', b'""'),
        LINEAR_TRADE.replace(b"1786310819680", b"-1"),
        LINEAR_TRADE.replace(b"1786310819680", b"253402300800000"),
        LINEAR_TRADE.replace(b'"65114.20"', b"65114.20"),
        LINEAR_TRADE.replace(b'"s":"BTCUSDT"', b'"s":""'),
        b"null",
    ],
)
def test_an_element_without_what_makes_a_trade_is_none(broken):
    [element] = parse_frame(LINEAR.replace(LINEAR_TRADE, broken)).elements

    assert isinstance(element, UnreadableTrade)
    assert element.raw == broken


def test_each_symbol_is_asked_for_by_itself():
    assert msgspec.json.decode(subscribe("BTCUSDT")) == {
        "op": "subscribe",
        "args": ["publicTrade.BTCUSDT", "tickers.BTCUSDT"],
        "req_id": "BTCUSDT",
    }
    assert msgspec.json.decode(PING) == {"op": "ping"}


def test_the_trades_of_a_reply_are_put_in_the_order_of_their_times_and_keep_their_bytes():
    body = reply(recent(3), recent(2), recent(1))

    assert parse_reply(body, "BTCUSDT").trades == [
        RecentTrade(f"a9188a0a-{number}", time_of(number), number - 1, recent(number)) for number in (1, 2, 3)
    ]


def test_an_element_of_a_reply_that_is_no_trade_is_named_and_the_others_are_read():
    broken = recent(2).replace(b'"time":"', b'"time":"soon')

    answer = parse_reply(reply(recent(3), broken, recent(1)), "BTCUSDT")

    assert [trade.trade_id for trade in answer.trades] == ["a9188a0a-1", "a9188a0a-3"]
    assert answer.unreadable == [UnreadableTrade(broken, "recent trade: Expected `int`, got `str` - at `$.time`")]


def test_a_refusal_has_its_code_and_no_trades():
    body = b'{"retCode":10006,"retMsg":"Too many visits!","result":{},"retExtInfo":{},"time":1672053054358}'

    assert parse_reply(body, "BTCUSDT") == (10006, "Too many visits!", [], [])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "malformed"),
        (b"[]", "Expected `object`"),
        (b'{"retCode":0}', "no result"),
        (reply(recent(1, "ETHUSDT")), "asked for BTCUSDT, got ETHUSDT"),
    ],
)
def test_a_body_that_is_no_reply_says_why(body, reason):
    with pytest.raises(UnreadableError, match=reason):
        parse_reply(body, "BTCUSDT")

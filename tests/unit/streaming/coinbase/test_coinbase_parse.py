from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from include.settings import CHECKOUT
from streaming.coinbase.messages import Error, Heartbeat, LastMatch, Match, Status, Ticker
from streaming.coinbase.parse import UnknownType, UnreadableError, parse_frame, parse_page, subscribe

pytestmark = pytest.mark.unit

DATA = CHECKOUT / "tests" / "data" / "coinbase"

MATCH = (
    b'{"type":"match","trade_id":865127782,"maker_order_id":"5f4bb11b-f065-4025-ad53-2091b10ad2cf",'
    b'"taker_order_id":"66715b57-0167-4ae9-8b2b-75a064a923f4","side":"buy","size":"0.00004147","price":"116827.85",'
    b'"product_id":"BTC-USD","sequence":110614077300,"time":"2025-08-22T20:11:30.012637Z"}'
)


def test_a_recorded_session_is_read_frame_by_frame():
    frames = (DATA / "session_2021-04-17.ndjson").read_bytes().splitlines()

    kinds = Counter(type(parse_frame(frame)).__name__ for frame in frames)

    assert kinds == {"Subscriptions": 3, "LastMatch": 10, "Match": 97, "Ticker": 107}


def test_a_match_says_which_trade_it_is_and_when_it_was():
    assert parse_frame(MATCH) == Match(
        trade_id=865127782,
        product_id="BTC-USD",
        time=datetime(2025, 8, 22, 20, 11, 30, 12637, UTC),
        price="116827.85",
        size="0.00004147",
        side="buy",
    )


def test_the_last_match_of_a_subscription_is_a_match():
    assert isinstance(parse_frame(MATCH.replace(b'"match"', b'"last_match"', 1)), LastMatch)


@pytest.mark.parametrize("last_trade_id", [1092969669, 0, None])
def test_a_heartbeat_names_the_last_trade_if_there_was_one(last_trade_id):
    frame = msgspec.json.encode(
        {
            "type": "heartbeat",
            "last_trade_id": last_trade_id,
            "product_id": "BTC-USD",
            "sequence": 136118091026,
            "time": "2026-09-15T11:01:54.000000Z",
        }
    )

    assert parse_frame(frame) == Heartbeat("BTC-USD", datetime(2026, 9, 15, 11, 1, 54, tzinfo=UTC), last_trade_id)


def test_a_ticker_of_2021_lacks_fields_that_came_later():
    assert isinstance(
        parse_frame(
            b'{"type":"ticker","sequence":333938798,"product_id":"BAND-GBP","price":"14.7775","best_bid":"14.7550",'
            b'"side":"buy","time":"2021-04-17T16:43:30.244075Z","trade_id":881613,"last_size":"0.04"}'
        ),
        Ticker,
    )


def test_a_status_is_taken_whatever_it_lists():
    assert parse_frame(b'{"currencies":[{"min_withdrawal_amount":1e-08}],"products":[],"type":"status"}') == Status()


def test_an_error_keeps_its_words():
    frame = b'{"type":"error","message":"Failed to subscribe","reason":"XXX-USD is not a valid product"}'

    assert parse_frame(frame) == Error("Failed to subscribe", "XXX-USD is not a valid product")


def test_a_type_that_we_do_not_know_is_no_fault():
    assert parse_frame(b'{"type":"rfq_matches","trade_id":"not ours"}') == UnknownType("rfq_matches")


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (MATCH[: len(MATCH) // 2], "truncated"),
        (b"", "truncated"),
        (b"\xff\xfe", "malformed"),
        (b"null", "object"),
        (b"[]", "object"),
        (b"{}", "type"),
        (b'{"type":7}', "type"),
        (MATCH.replace(b"865127782", b'"865127782"'), "trade_id"),
        (MATCH.replace(b"865127782", b"-1"), "trade_id"),
        (MATCH.replace(b"865127782", b"9223372036854775808"), "trade_id"),
        (MATCH.replace(b'"trade_id":865127782,', b""), "trade_id"),
        (MATCH.replace(b'"BTC-USD"', b"null"), "product_id"),
        (MATCH.replace(b'"BTC-USD"', b'""'), "product_id"),
        (MATCH.replace(b"2025-08-22T20", b"2025-08-22T25"), "time"),
        (MATCH.replace(b".012637Z", b""), "time"),
        (MATCH.replace(b'"116827.85"', b"116827.85"), "price"),
        (b'{"type":"heartbeat","product_id":"BTC-USD"}', "heartbeat"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(frame, reason):
    with pytest.raises(UnreadableError, match=reason):
        parse_frame(frame)


def test_a_recorded_page_keeps_the_bytes_of_each_trade():
    body = Path(DATA / "trades_page_2016-05-12.json").read_bytes()
    page = parse_page(body)

    assert page.unreadable == []
    assert [trade.trade_id for trade in page.trades] == list(range(8408114, 8408014, -1))
    assert b"[" + b",".join(trade.raw for trade in page.trades) + b"]" == body
    assert page.trades[4].time == datetime(2016, 5, 12, 15, 4, 30, 982090, UTC)


def test_an_element_of_a_page_that_is_no_trade_does_not_spoil_the_others():
    page = parse_page(b'[{"trade_id":2,"time":"2016-05-12T15:04:30Z"}, {"trade_id":"1"}]')

    assert [trade.trade_id for trade in page.trades] == [2]
    assert [unreadable.raw for unreadable in page.unreadable] == [b'{"trade_id":"1"}']


def test_a_page_that_is_no_list_is_refused():
    with pytest.raises(UnreadableError):
        parse_page(b'{"message":"NotFound"}')


def test_one_request_subscribes_to_every_channel():
    assert msgspec.json.decode(subscribe(["BTC-USD", "ETH-USD"])) == {
        "type": "subscribe",
        "channels": [
            {"name": "matches", "product_ids": ["BTC-USD", "ETH-USD"]},
            {"name": "ticker", "product_ids": ["BTC-USD", "ETH-USD"]},
            {"name": "heartbeat", "product_ids": ["BTC-USD", "ETH-USD"]},
            {"name": "status"},
        ],
    }

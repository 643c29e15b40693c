import base64
from datetime import UTC, datetime

import msgspec
import pytest
from pyspark.sql import types as T

from include.contracts import bronze
from include.settings import CHECKOUT
from spark_apps.bronze_writer.transforms import TABLE_OF_TOPIC, dead_letters, readable
from tests.unit.spark_apps.conftest import as_dicts

pytestmark = pytest.mark.unit

MATCH = (
    b'{"type":"match","trade_id":865127782,"maker_order_id":"6d3b","taker_order_id":"f1c0","side":"buy",'
    b'"size":"0.00004147","price":"116827.85","product_id":"BTC-USD","sequence":110614077300,'
    b'"time":"2025-08-22T20:11:30.012637Z"}'
)
REST = b'{"time":"2016-05-12T15:04:30.98Z","trade_id":8408114,"price":"453.30000000","size":"0.04000000","side":"buy"}'
TICKER = (
    b'{"type":"ticker","sequence":116733349195,"product_id":"BTC-USD","price":"87981.14","volume_24h":"13615.85264230",'
    b'"best_bid":"87981.13","best_ask":"87981.14","side":"buy","time":"2025-11-25T07:00:00.019483Z",'
    b'"trade_id":910978571,"last_size":"0.00036295"}'
)
PROGRESS = (
    b'{"venue":"coinbase","market":"spot","product_id":"BTC-USD","covered_from":"2026-11-20T09:00:00.000000Z",'
    b'"closed_through":"2026-11-20T12:00:00.251063Z","last_trade_id":null}'
)
GAP = (
    b'{"kind":"gap","venue":"coinbase","market":"spot","product_id":"BTC-USD","reason":"trade 9 came next after 6",'
    b'"first_missing_id":7,"last_missing_id":8,"state":"repaired","at":"2026-11-20T12:00:00.000000Z"}'
)
BYBIT_LINEAR = (
    b'{"T":1786310819680,"s":"BTCUSDT","S":"Sell","v":"0.004","p":"65114.20","L":"MinusTick",'
    b'"i":"a9188a0a-82bc-50de-be60-03eedbe3cdd7","BT":false,"RPI":false,"seq":753843954913}'
)
BYBIT_SPOT = (
    b'{"i":"2280000001739247417","T":1786310819681,"p":"65114.2","v":"0.000153","S":"Buy","seq":99141,"s":"BTCUSDT",'
    b'"BT":false,"RPI":false}'
)
BYBIT_TICKER = (
    b'{"symbol":"BTCUSDT","lastPrice":"65114.30","volume24h":"17573.9120","bid1Price":"65114.20",'
    b'"ask1Price":"65114.30","preOpenPrice":"","ts":1786310817583,"cs":753843900397}'
)
COIN = (
    b'{"id":"bitcoin","symbol":"btc","name":"Bitcoin","current_price":49053,"market_cap":917825524991,'
    b'"total_volume":61679663434,"circulating_supply":18710831.0,"roi":null,"last_updated":"2021-05-15T15:59:43.867Z"}'
)
HEADERS = {"source": "ws", "frame_index": "0", "received_at": "1732093200123456", "venue": "coinbase", "market": "spot"}
RECEIVED = "2024-11-20 09:00:00.123456"
KAFKA_TIME = datetime(2026, 11, 20, 9, 0, 1, tzinfo=UTC)

KAFKA = T.StructType(
    [
        T.StructField("key", T.BinaryType()),
        T.StructField("value", T.BinaryType()),
        T.StructField("topic", T.StringType()),
        T.StructField("partition", T.IntegerType()),
        T.StructField("offset", T.LongType()),
        T.StructField("timestamp", T.TimestampType()),
        T.StructField(
            "headers",
            T.ArrayType(T.StructType([T.StructField("key", T.StringType()), T.StructField("value", T.BinaryType())])),
        ),
    ]
)


@pytest.fixture
def kafka(spark):
    """Make a frame as Spark's Kafka source gives it; offsets count up from 0."""

    def make(*values, topic="coinbase.raw.trades", key=b"BTC-USD", headers=HEADERS):
        pairs = [(name, text.encode()) for name, text in headers.items()] if headers is not None else None
        return spark.createDataFrame(
            [(key, value, topic, 2, offset, KAFKA_TIME, pairs) for offset, value in enumerate(values)], KAFKA
        )

    return make


def only(frame, *names):
    [row] = as_dicts(frame, *names)
    return row


def test_a_match_becomes_a_row_with_its_words_untouched(kafka):
    assert only(readable(kafka(MATCH), bronze.TRADES)) == {
        "_ingested_at": RECEIVED,
        "_raw_payload": MATCH.decode(),
        "_kafka_topic": "coinbase.raw.trades",
        "_kafka_partition": 2,
        "_kafka_offset": 0,
        "_kafka_time": "2026-11-20 09:00:01",
        "_source": "ws",
        "_frame_index": 0,
        "venue": "coinbase",
        "market": "spot",
        "product_id": "BTC-USD",
        "trade_id": "865127782",
        "sequence": 865127782,
        "price": "116827.85",
        "size": "0.00004147",
        "side": "buy",
        "time": "2025-08-22T20:11:30.012637Z",
    }


def test_a_trade_from_rest_takes_its_product_from_the_key(kafka):
    row = only(
        readable(kafka(REST, headers=HEADERS | {"source": "rest"}), bronze.TRADES), "product_id", "time", "_source"
    )

    assert row == {"product_id": "BTC-USD", "time": "2016-05-12T15:04:30.98Z", "_source": "rest"}


def test_a_bybit_trade_from_rest_is_read_by_the_names_that_rest_has(kafka):
    trade = (
        b'{"execId":"a9188a0a-82bc-50de-be60-03eedbe3cdd7","symbol":"BTCUSDT","price":"65114.20","size":"0.004",'
        b'"side":"Sell","time":"1786310819680","isBlockTrade":false,"isRPITrade":false,"seq":"753843954913"}'
    )
    headers = HEADERS | {"source": "rest", "frame_index": "17", "venue": "bybit", "market": "linear"}

    row = only(
        readable(kafka(trade, topic="bybit.raw.trades", headers=headers), bronze.TRADES),
        *("_source", "_frame_index", "product_id", "trade_id", "sequence", "price", "size", "side", "time"),
    )

    assert row == {
        "_source": "rest",
        "_frame_index": 17,
        "product_id": "BTCUSDT",
        "trade_id": "a9188a0a-82bc-50de-be60-03eedbe3cdd7",
        "sequence": 753843954913,
        "price": "65114.20",
        "size": "0.004",
        "side": "Sell",
        "time": "2026-08-09T21:26:59.680Z",
    }


def test_a_ticker_keeps_bid_ask_and_volume_as_text(kafka):
    row = only(
        readable(kafka(TICKER, topic="coinbase.raw.tickers"), bronze.TICKERS), "best_bid", "best_ask", "volume_24h"
    )

    assert row == {"best_bid": "87981.13", "best_ask": "87981.14", "volume_24h": "13615.85264230"}


@pytest.mark.parametrize(
    ("market", "trade", "expected"),
    [
        (
            "linear",
            BYBIT_LINEAR,
            {
                "_frame_index": 3,
                "market": "linear",
                "product_id": "BTCUSDT",
                "trade_id": "a9188a0a-82bc-50de-be60-03eedbe3cdd7",
                "sequence": 753843954913,
                "price": "65114.20",
                "size": "0.004",
                "side": "Sell",
                "time": "2026-08-09T21:26:59.680Z",
            },
        ),
        (
            "spot",
            BYBIT_SPOT,
            {
                "_frame_index": 3,
                "market": "spot",
                "product_id": "BTCUSDT",
                "trade_id": "2280000001739247417",
                "sequence": 99141,
                "price": "65114.2",
                "size": "0.000153",
                "side": "Buy",
                "time": "2026-08-09T21:26:59.681Z",
            },
        ),
    ],
)
def test_a_trade_of_bybit_becomes_a_row_under_our_names(kafka, market, trade, expected):
    headers = HEADERS | {"venue": "bybit", "market": market, "frame_index": "3"}
    frame = kafka(trade, topic="bybit.raw.trades", key=b"BTCUSDT", headers=headers)

    assert (
        only(readable(frame, bronze.TRADES), "_raw_payload", *expected) == {"_raw_payload": trade.decode()} | expected
    )
    assert dead_letters(frame).isEmpty()


def test_trades_of_two_venues_in_one_batch_are_each_read_by_their_own_names(kafka):
    both = kafka(MATCH).unionByName(
        kafka(BYBIT_LINEAR, topic="bybit.raw.trades", key=b"BTCUSDT", headers=HEADERS | {"venue": "bybit"})
    )

    assert as_dicts(readable(both, bronze.TRADES), "venue", "price") == [
        {"venue": "bybit", "price": "65114.20"},
        {"venue": "coinbase", "price": "116827.85"},
    ]


@pytest.mark.parametrize("time", [b'"soon"', b"-1", b"1786310819680123456", b"1.5"])
def test_a_count_of_milliseconds_that_is_none_stays_as_received(kafka, time):
    frame = kafka(BYBIT_LINEAR.replace(b"1786310819680", time), topic="bybit.raw.trades", key=b"BTCUSDT")

    assert only(readable(frame, bronze.TRADES), "time") == {"time": time.decode().strip('"')}


def test_a_ticker_of_bybit_has_no_trade_and_may_have_no_offers(kafka):
    without_offers = BYBIT_TICKER.replace(b"bid1Price", b"x").replace(b"ask1Price", b"y")
    rows = readable(kafka(BYBIT_TICKER, without_offers, topic="bybit.raw.tickers", key=b"BTCUSDT"), bronze.TICKERS)

    linear, spot = as_dicts(rows, "trade_id", "price", "best_bid", "best_ask", "volume_24h", "time")
    assert linear == {
        "trade_id": None,
        "price": "65114.30",
        "best_bid": "65114.20",
        "best_ask": "65114.30",
        "volume_24h": "17573.9120",
        "time": "2026-08-09T21:26:57.583Z",
    }
    assert spot == linear | {"best_bid": None, "best_ask": None}


@pytest.fixture
def coins(kafka):
    """Make a frame of CoinGecko's records."""
    headers = HEADERS | {"source": "rest", "venue": "coingecko", "market": "usd"}
    return lambda *values: kafka(*values, topic="coingecko.raw.prices", key=b"bitcoin", headers=headers)


def test_a_coin_becomes_a_row_with_its_words_untouched(coins):
    assert only(readable(coins(COIN), bronze.PRICES)) == {
        "_ingested_at": RECEIVED,
        "_raw_payload": COIN.decode(),
        "_kafka_topic": "coingecko.raw.prices",
        "_kafka_partition": 2,
        "_kafka_offset": 0,
        "_kafka_time": "2026-11-20 09:00:01",
        "venue": "coingecko",
        "market": "usd",
        "coin_id": "bitcoin",
        "price": "49053",
        "market_cap": "917825524991",
        "quote_volume_24h": "61679663434",
        "time": "2021-05-15T15:59:43.867Z",
    }


def test_the_prices_of_a_recorded_reply_are_kept_digit_for_digit(coins):
    body = (CHECKOUT / "tests" / "data" / "coingecko" / "markets_2024-01-14.json").read_bytes()
    elements = [bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]

    rows = readable(coins(*elements), bronze.PRICES).orderBy("_kafka_offset").select("coin_id", "price", "market_cap")

    assert [tuple(row) for row in rows.collect()] == [
        ("bitcoin", "42812", "839172444303"),
        ("ethereum", "2513.2", "302489936485"),
        ("tether", "1.001", "95006744693"),
        ("solana", "97.22", "42116929338"),
        ("ripple", "0.57862", "31406826471"),
        ("cardano", "0.540023", "18935945550"),
        ("dogecoin", "0.081301", "11603287505"),
        ("shiba-inu", "9.76e-6", "5754196951"),
    ]


@pytest.mark.parametrize(
    "number",
    [
        "49053", "49053.0", "49053.10", "0.00000001", "6.3363e-07", "6.3363E-7", "9.76e-6", "1e5", "-0.0", "0",
        "123456789012345678901234567890", "0.1000000000000000055511151231257827", "1.7976931348623157e+308",
    ],
)  # fmt: skip
def test_a_bare_number_is_kept_as_it_is_written(coins, number):
    frame = coins(COIN.replace(b"49053", number.encode()), COIN.replace(b":49053", f" : {number} ".encode()))

    assert as_dicts(readable(frame, bronze.PRICES), "price") == [{"price": number}] * 2


@pytest.mark.parametrize("field", [b'"current_price":null', b'"x":1'])
def test_a_price_that_is_not_known_is_null(coins, field):
    frame = coins(COIN.replace(b'"current_price":49053', field))

    assert only(readable(frame, bronze.PRICES), "price", "market_cap") == {"price": None, "market_cap": "917825524991"}
    assert dead_letters(frame).isEmpty()


def test_a_price_of_that_name_elsewhere_in_the_frame_is_not_the_coins(coins):
    inner = b'"roi":{"current_price":1.5,"market_cap":2}'
    text = b'"name":"\\"current_price\\":7, \\\\"'
    decoys = COIN.replace(b'"symbol":"btc"', inner).replace(b'"name":"Bitcoin"', text)

    assert only(readable(coins(decoys), bronze.PRICES), "price", "market_cap") == {
        "price": "49053",
        "market_cap": "917825524991",
    }


def test_a_price_that_becomes_a_string_one_day_is_that_string(coins):
    assert only(readable(coins(COIN.replace(b"49053", b'"49053.10"')), bronze.PRICES), "price") == {"price": "49053.10"}


def test_a_coin_without_a_name_is_a_dead_letter(coins):
    assert only(dead_letters(coins(COIN.replace(b'"id"', b'"x"'))), "reason") == {"reason": "no readable coin_id"}


def test_a_letter_of_any_venue_is_one(kafka):
    letters = dead_letters(kafka(BYBIT_LINEAR, topic="bybit.dlq", headers=HEADERS | {"reason": "no trade"}))

    assert only(letters, "reason") == {"reason": "no trade"}


def test_progress_is_typed_and_may_have_seen_no_trade(kafka):
    frame = kafka(PROGRESS, topic="ingestion.progress", key=b"coinbase/spot/BTC-USD", headers={"received_at": "1"})

    assert only(
        readable(frame, bronze.INGESTION_PROGRESS), "product_id", "covered_from", "closed_through", "last_trade_id"
    ) == {
        "product_id": "BTC-USD",
        "covered_from": "2026-11-20 09:00:00",
        "closed_through": "2026-11-20 12:00:00.251063",
        "last_trade_id": None,
    }


def test_an_event_of_a_whole_connection_has_no_product_though_it_has_a_key(kafka):
    frame = kafka(
        GAP.replace(b'"BTC-USD"', b"null"), topic="ingestion.events", key=b"coinbase/spot", headers={"received_at": "1"}
    )

    assert only(readable(frame, bronze.INGESTION_EVENTS), "product_id", "reason") == {
        "product_id": None,
        "reason": "trade 9 came next after 6",
    }


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"", "not one JSON object"),
        (b'{"trade_id":1', "not one JSON object"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"trade_id":1,"product_id":"\xed\xa0\x80"}', "not UTF-8"),
        (b'[{"trade_id":1}]', "not one JSON object"),
        (b'{"trade_id":1}{"trade_id":2}', "not one JSON object"),
        (b'{"trade_id":1}],[{}', "not one JSON object"),
        (b'{"trade_id":1} and more', "not one JSON object"),
        (b"{'trade_id':1}", "not one JSON object"),
        (b'"match"', "not one JSON object"),
        (b"null", "not one JSON object"),
        (b"{}", "no readable trade_id"),
        (b'{"trade_id":null}', "no readable trade_id"),
    ],
)
def test_what_is_no_trade_is_a_dead_letter_with_the_reason_and_its_bytes(kafka, value, reason):
    frame = kafka(value)

    assert readable(frame, bronze.TRADES).isEmpty()
    letter = only(dead_letters(frame), "reason", "_raw_bytes_base64", "_kafka_offset", "_ingested_at")
    assert letter == {
        "reason": reason,
        "_raw_bytes_base64": base64.b64encode(value or b"").decode(),
        "_kafka_offset": 0,
        "_ingested_at": RECEIVED,
    }


def test_a_header_that_is_left_out_means_what_the_topic_implies(kafka):
    rows = readable(kafka(MATCH, headers={"received_at": HEADERS["received_at"]}), bronze.TRADES)

    assert only(rows, "_source", "_frame_index", "venue", "market") == {
        "_source": "ws",
        "_frame_index": 0,
        "venue": "coinbase",
        "market": "spot",
    }


@pytest.mark.parametrize(
    ("topic", "trade", "name", "column"),
    [
        ("coinbase.raw.trades", MATCH, "received_at", "_ingested_at"),
        # Bybit has two markets.
        ("bybit.raw.trades", BYBIT_LINEAR, "market", "market"),
    ],
)
def test_a_trade_without_a_header_that_nothing_implies_is_a_dead_letter(kafka, topic, trade, name, column):
    frame = kafka(trade, topic=topic, headers={key: text for key, text in HEADERS.items() if key != name})

    assert readable(frame, bronze.TRADES).isEmpty()
    assert only(dead_letters(frame), "reason") == {"reason": f"no readable {column}"}


def test_a_record_with_no_header_at_all_is_dated_by_kafka(kafka):
    assert only(dead_letters(kafka(MATCH, headers=None)), "_ingested_at", "venue") == {
        "_ingested_at": "2026-11-20 09:00:01",
        "venue": "coinbase",
    }


def test_long_bytes_are_kept_on_one_line(kafka):
    value = b"x" * 500

    assert only(dead_letters(kafka(value)), "_raw_bytes_base64") == {
        "_raw_bytes_base64": base64.b64encode(value).decode()
    }


def test_a_letter_from_the_producer_keeps_the_producers_reason(kafka):
    letters = dead_letters(kafka(MATCH, topic="coinbase.dlq", headers=HEADERS | {"reason": "unknown type"}))

    assert only(letters, "reason", "venue", "_kafka_topic") == {
        "reason": "unknown type",
        "venue": "coinbase",
        "_kafka_topic": "coinbase.dlq",
    }


def test_a_price_that_json_numbers_would_change_is_not_taken_for_what_was_received(kafka):
    frame = kafka(MATCH.replace(b'"116827.85"', b"0.00000001"), MATCH.replace(b'"116827.85"', b"116827.85"))

    assert as_dicts(readable(frame, bronze.TRADES), "price") == [{"price": "116827.85"}, {"price": None}]


def test_a_trade_with_garbage_for_a_price_is_a_row_all_the_same(kafka):
    frame = kafka(MATCH.replace(b"116827.85", b"abc"))

    assert only(readable(frame, bronze.TRADES), "price") == {"price": "abc"}
    assert dead_letters(frame).isEmpty()


@pytest.mark.parametrize("topic", sorted(TABLE_OF_TOPIC))
def test_every_offset_of_a_topic_is_exactly_one_row_or_one_dead_letter(kafka, topic):
    values = (
        MATCH,
        REST,
        TICKER,
        BYBIT_LINEAR,
        BYBIT_SPOT,
        BYBIT_TICKER,
        COIN,
        PROGRESS,
        GAP,
        None,
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"products":[]}',
    )
    frame = kafka(*values, topic=topic)

    offsets = [
        row["_kafka_offset"]
        for rows in (readable(frame, TABLE_OF_TOPIC[topic]), dead_letters(frame))
        for row in rows.select("_kafka_offset").collect()
    ]
    assert sorted(offsets) == list(range(len(values)))

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve

from streaming.backoff import Backoff
from streaming.bybit import feed as feed_module
from streaming.bybit.feed import Feed
from streaming.bybit.messages import KNOWN_FIELDS
from streaming.bybit.parse import TICK
from streaming.drift import Difference, Drift
from streaming.failures import RefusalError
from streaming.metrics import Metrics
from streaming.product import ProductKey
from streaming.records import Origin
from streaming.uncounted import UncountedProduct
from tests.unit.streaming.bybit.frames import START, ack, ticker, time_of, trade, trades

pytestmark = pytest.mark.unit

RECEIVED_AT = 1_795_165_201_000_000


class Exchange:
    """A server that takes the subscriptions of each connection, sends it its script, and then waits, or cuts it."""

    def __init__(self, *scripts: list[bytes], symbols: int = 1):
        self.scripts = list(scripts)
        self.symbols = symbols
        self.requests: list[dict] = []

    async def __call__(self, connection: ServerConnection) -> None:
        script = self.scripts.pop(0)
        for _ in range(self.symbols):
            self.requests.append(msgspec.json.decode(await connection.recv()))
        for message in script:
            await connection.send(message, text=True)
        if self.scripts:
            return
        async for message in connection:
            self.requests.append(msgspec.json.decode(message))


@asynccontextmanager
async def following(exchange, kafka, symbols=("BTCUSDT",), drift=None):
    """A feed of the linear market that follows the exchange."""
    books = {name: UncountedProduct(ProductKey("bybit", "linear", name), TICK) for name in symbols}
    stop, metrics = asyncio.Event(), Metrics("bybit")
    async with serve(exchange, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        feed = Feed(
            f"ws://127.0.0.1:{port}", books, Origin("bybit", "linear"), kafka, metrics, stop,
            is_remote=False, drift=drift, clock=lambda: RECEIVED_AT * 1_000,
        )  # fmt: skip
        feed._pauses = Backoff(0.001, 0.001)
        task = asyncio.create_task(feed.follow())
        try:
            yield books, metrics, task, stop
        finally:
            stop.set()
            await asyncio.wait([task])


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_each_trade_of_a_frame_is_a_record_of_its_own_bytes_and_place(kafka):
    frame = trades(trade(1), trade(2), trade(3))
    async with following(Exchange([ack(), frame]), kafka) as (_, metrics, _, _):
        await until(lambda: metrics.frames["trades"])

    assert [(record.topic, record.key, record.value) for record in kafka.records] == [
        ("bybit.raw.trades", "BTCUSDT", trade(number)) for number in (1, 2, 3)
    ]
    assert dict(kafka.records[2].headers) == {
        "market": b"linear",
        "frame_index": b"2",
        "received_at": b"%d" % RECEIVED_AT,
    }


async def test_data_before_the_acknowledgement_is_taken(kafka):
    async with following(Exchange([trades(trade(1)), ack()]), kafka) as (_, metrics, _, _):
        await until(lambda: metrics.frames["ack"])

    assert kafka.values("bybit.raw.trades") == [trade(1)]


async def test_a_ticker_goes_out_as_it_stands_and_a_delta_before_its_snapshot_is_counted(kafka):
    script = [ack(), ticker("delta"), ticker("snapshot", lastPrice="1", bid1Price="2"), ticker("delta", bid1Price="3")]
    async with following(Exchange(script), kafka) as (_, metrics, _, _):
        await until(lambda: metrics.frames["ticker"] == 3)

    states = [msgspec.json.decode(value) for value in kafka.values("bybit.raw.tickers")]
    assert [(state["lastPrice"], state["bid1Price"]) for state in states] == [("1", "2"), ("1", "3")]
    assert metrics.frames["ticker before its snapshot"] == 1


async def test_a_state_does_not_outlive_its_connection(kafka):
    exchange = Exchange([ack(), ticker("snapshot", lastPrice="1")], [ack(), ticker("delta", bid1Price="3")])
    async with following(exchange, kafka) as (_, metrics, _, _):
        await until(lambda: metrics.frames["ticker"] == 2)

    assert len(kafka.values("bybit.raw.tickers")) == 1


async def test_what_cannot_be_read_is_a_dead_letter_and_nothing_is_promised_across_it(kafka):
    broken = trades(trade(3))[:50]
    script = [ack(), trades(trade(1), trade(2)), broken, trades(trade(4)), trades(trade(5))]
    async with following(Exchange(script), kafka) as (books, metrics, _, _):
        await until(lambda: metrics.frames["trades"] == 3)

    assert kafka.values("bybit.dlq") == [broken]
    product = books["BTCUSDT"]
    assert (product.next_break().since, product.next_break().until) == (time_of(2), time_of(4) + TICK)
    news = product.news()
    assert (news.covered_from, news.closed_through) == (time_of(1) + TICK, time_of(2))


async def test_one_unreadable_trade_is_a_dead_letter_in_its_place_and_the_others_are_records(kafka):
    script = [ack(), trades(trade(1), b'{"i":7}', trade(2))]
    async with following(Exchange(script), kafka) as (books, metrics, _, _):
        await until(lambda: metrics.frames["trades"])

    assert kafka.values("bybit.raw.trades") == [trade(1), trade(2)]
    [letter] = [record for record in kafka.records if record.topic == "bybit.dlq"]
    assert (letter.value, dict(letter.headers)["frame_index"]) == (b'{"i":7}', b"1")
    assert books["BTCUSDT"].next_break().since == time_of(1)


async def test_an_unreadable_ticker_breaks_no_promise(kafka):
    script = [ack(), trades(trade(1)), ticker("delta", "now"), trades(trade(2))]
    async with following(Exchange(script), kafka) as (books, metrics, _, _):
        await until(lambda: metrics.frames["trades"] == 2)

    assert books["BTCUSDT"].next_break() is None
    assert books["BTCUSDT"].news().closed_through == time_of(2)


async def test_what_nobody_asked_for_is_a_dead_letter_or_if_unknown_ignored(kafka):
    others = [trades(trade(1, "XUSDT"), symbol="XUSDT"), ticker("snapshot", symbol="XUSDT")]
    unknown = b'{"topic":"kline.1.BTCUSDT","data":[]}'
    async with following(Exchange([ack(), *others, unknown]), kafka) as (_, metrics, _, _):
        await until(lambda: metrics.frames["unknown"])

    assert kafka.values("bybit.dlq") == [trade(1, "XUSDT"), others[1]]


@pytest.mark.parametrize(
    "answer",
    [
        ack("XUSDT", refusal="not authorised"),
        ack("", refusal="error:handler not found,topic:publicTrade.XUSDT"),
        ack("", refusal="Invalid symbol :[tickers.XUSDT]").replace(b'"req_id":"",', b""),
    ],
    ids=["by the request", "by the topic", "by the topic in brackets"],
)
async def test_a_refused_symbol_is_told_and_the_others_go_on(kafka, answer):
    exchange = Exchange([answer, ack(), trades(trade(1))], symbols=2)
    async with following(exchange, kafka, ("XUSDT", "BTCUSDT")) as (_, metrics, _, _):
        await until(lambda: metrics.frames["trades"])

    assert [request["args"][0] for request in exchange.requests] == ["publicTrade.XUSDT", "publicTrade.BTCUSDT"]
    assert [(event["kind"], event["product_id"]) for event in kafka.events()] == [("subscription_refused", "XUSDT")]
    assert kafka.values("bybit.raw.trades") == [trade(1)]


async def test_when_every_symbol_is_refused_there_is_nothing_to_do(kafka):
    refusals = [ack(name, refusal=f"error:handler not found,topic:publicTrade.{name}") for name in ("X", "Y")]
    async with following(Exchange(refusals, symbols=2), kafka, ("X", "Y")) as (_, _, task, _):
        with pytest.raises(RefusalError, match=r"none of the linear symbols X, Y .*set LAKE_BYBIT_LINEAR"):
            await task


async def test_a_lost_connection_is_told_and_is_a_break_of_each_product_from_its_last_trade_to_its_next(kafka):
    exchange = Exchange([ack(), trades(trade(1), trade(2))], [ack(), trades(trade(9)), trades(trade(10))])
    async with following(exchange, kafka) as (books, metrics, _, _):
        await until(lambda: metrics.frames["trades"] == 3)

    [event] = kafka.events()
    assert (event["kind"], event["product_id"]) == ("reconnect", None)
    product = books["BTCUSDT"]
    broken = product.next_break()
    assert (broken.since, broken.until, broken.first_id) == (time_of(2), time_of(9) + TICK, "a9188a0a-9")
    assert broken.reason == event["reason"]
    product.ended(is_bridged=False)
    product.published(product.news())
    assert product.news().covered_from == time_of(9) + TICK
    assert product.news().last_trade_id is None
    assert START < product.news().closed_through == time_of(10)


async def test_pings_are_sent_and_a_connection_that_answers_them_is_kept(kafka, monkeypatch):
    monkeypatch.setattr(feed_module, "PING_SECONDS", 0.02)
    monkeypatch.setattr(feed_module, "SILENCE_SECONDS", 0.5)
    pongs = (
        b'{"success":true,"ret_msg":"pong","conn_id":"d8","req_id":"","op":"ping"}',
        b'{"success":true,"ret_msg":"pong","conn_id":"d8","op":"ping"}',
    )

    async def answering(connection):
        await connection.recv()
        await connection.send(ack(), text=True)
        count = 0
        async for message in connection:
            assert msgspec.json.decode(message) == {"op": "ping"}
            await connection.send(pongs[count % 2], text=True)
            count += 1

    async with following(answering, kafka) as (_, metrics, _, _):
        await until(lambda: metrics.frames["pong"] == 4)

    assert metrics.frames["unknown"] == 0
    assert kafka.events() == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [([], "a subscription is not answered"), ([trades(trade(1))], "a subscription is not answered"), ([ack()], "pong")],
    ids=["from the beginning", "after data without an answer", "after the answer"],
)
async def test_a_connection_on_which_nothing_comes_is_given_up(kafka, monkeypatch, script, reason):
    monkeypatch.setattr(feed_module, "ACK_SECONDS", 0.05)
    monkeypatch.setattr(feed_module, "SILENCE_SECONDS", 0.05)
    scripts = [script, [ack(), trades(trade(8))]]

    async def never_ends(connection):
        for message in scripts.pop(0):
            await connection.send(message, text=True)
        await connection.wait_closed()

    async with following(never_ends, kafka):
        await until(lambda: not scripts and trade(8) in kafka.values("bybit.raw.trades"))

    assert reason in kafka.events()[0]["reason"]


async def test_while_kafka_has_no_room_nothing_is_read_and_the_silence_is_not_the_exchanges(kafka, monkeypatch):
    monkeypatch.setattr(feed_module, "ACK_SECONDS", 0.05)
    asked, room = asyncio.Event(), asyncio.Event()

    async def send_when_there_is_room(record):
        asked.set()
        await room.wait()
        kafka.records.append(record)

    monkeypatch.setattr(kafka, "offer", lambda record: False)
    monkeypatch.setattr(kafka, "send", send_when_there_is_room)
    async with following(Exchange([trades(trade(1), trade(2)), ack()]), kafka) as (_, metrics, _, _):
        await asked.wait()
        await asyncio.sleep(0.2)  # four times what would end the connection
        assert metrics.frames["ack"] == 0
        room.set()
        await until(lambda: metrics.frames["ack"])

    assert kafka.values("bybit.raw.trades") == [trade(1), trade(2)]
    assert kafka.events() == []


async def test_what_the_connection_gave_before_the_stop_is_taken(kafka, monkeypatch):
    room, all_sent = asyncio.Event(), asyncio.Event()
    script = [ack(), *(trades(trade(number)) for number in range(1, 300))]

    async def send_when_there_is_room(record):
        await room.wait()
        kafka.records.append(record)

    async def exchange(connection):
        for message in script:
            await connection.send(message, text=True)
        await (await connection.ping())
        all_sent.set()
        await connection.wait_closed()

    monkeypatch.setattr(kafka, "offer", lambda record: False)
    monkeypatch.setattr(kafka, "send", send_when_there_is_room)
    async with following(exchange, kafka) as (_, _, task, stop):
        await all_sent.wait()
        stop.set()
        room.set()
        await task

    assert kafka.values("bybit.raw.trades") == [trade(number) for number in range(1, 300)]


async def test_new_fields_of_trades_and_tickers_are_kept_and_noted(kafka):
    with_field = trade(2)[:-1] + b',"fee":1}'
    script = [ack(), trades(trade(1), with_field), ticker("snapshot", lastPrice="1", mood="good"), ticker("delta")]
    drift = Drift(KNOWN_FIELDS)
    async with following(Exchange(script), kafka, drift=drift) as (_, metrics, _, _):
        await until(lambda: metrics.frames["ticker"] == 2)

    assert kafka.values("bybit.raw.trades") == [trade(1), with_field]
    assert {msgspec.json.decode(value)["mood"] for value in kafka.values("bybit.raw.tickers")} == {"good"}
    assert drift.counts == {
        Difference("new_field", "publicTrade", "fee", None, "number"): 1,
        Difference("new_field", "tickers", "mood", None, "string"): 1,
    }


async def test_a_trade_with_a_field_of_another_type_is_a_dead_letter_and_counted(kafka):
    changed = b'{"T":1,"s":"X","i":2}'
    drift = Drift(KNOWN_FIELDS)
    async with following(Exchange([ack(), trades(changed)]), kafka, drift=drift) as (_, metrics, _, _):
        await until(lambda: metrics.frames["trades"])

    assert kafka.values("bybit.dlq") == [changed]
    assert drift.counts == {Difference("changed_type", "trade of a frame", "i", "str", "number"): 1}

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve

from include.settings import CHECKOUT
from streaming.backoff import Backoff
from streaming.coinbase import feed as feed_module
from streaming.coinbase.feed import Feed
from streaming.coinbase.messages import KNOWN_FIELDS
from streaming.drift import Difference, Drift
from streaming.failures import RefusalError
from streaming.metrics import Metrics
from streaming.product import Product, ProductKey
from streaming.progress import ProgressRecord
from streaming.records import Origin

pytestmark = pytest.mark.unit

START = datetime(2026, 11, 20, 9, tzinfo=UTC)
RECEIVED_AT = 1_795_165_201_000_000


def frame(kind: str, **fields) -> bytes:
    return msgspec.json.encode({"type": kind, **fields})


def time_of(trade_id: int) -> str:
    return (START + timedelta(seconds=trade_id)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def match(trade_id: int, product_id: str = "BTC-USD", kind: str = "match") -> bytes:
    return frame(
        kind, trade_id=trade_id, price="1.5", size="2", side="buy", product_id=product_id, time=time_of(trade_id)
    )


def heartbeat(last_trade_id: int, product_id: str = "BTC-USD") -> bytes:
    return frame("heartbeat", last_trade_id=last_trade_id, product_id=product_id, time=time_of(last_trade_id))


def refusal(product_id: str) -> bytes:
    return frame("error", message="Failed to subscribe", reason=f"{product_id} is not a valid product")


class Exchange:
    """A server that sends each connection its script and then waits, or cuts it."""

    def __init__(self, *scripts: list[bytes]):
        self.scripts = list(scripts)
        self.requests: list[dict] = []

    async def __call__(self, connection: ServerConnection) -> None:
        script = self.scripts.pop(0)
        self.requests.append(msgspec.json.decode(await connection.recv()))
        for message in script:
            await connection.send(message, text=True)
        if self.scripts:
            return
        async for message in connection:
            self.requests.append(msgspec.json.decode(message))

    def subscribed_to(self) -> list[list[str]]:
        return [request["channels"][0]["product_ids"] for request in self.requests]


@asynccontextmanager
async def following(exchange, kafka, products=("BTC-USD",), drift=None, **server):
    """A feed that follows the exchange; its products have progress up to trade 7."""
    books = {
        name: Product(
            ProductKey("coinbase", "spot", name), START, ProgressRecord("coinbase", "spot", name, START, START, 7)
        )
        for name in products
    }
    stop, metrics = asyncio.Event(), Metrics("coinbase")
    async with serve(exchange, "127.0.0.1", 0, **server) as listening:
        port = listening.sockets[0].getsockname()[1]
        feed = Feed(
            f"ws://127.0.0.1:{port}", books, Origin("coinbase", "spot"), kafka, metrics, stop,
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


async def test_every_frame_goes_to_its_topic_exactly_as_it_came(kafka):
    ticker = frame("ticker", product_id="BTC-USD", time=time_of(8), trade_id=8, price="1.5", volume_24h="7")
    status = frame("status", currencies=[], products=[])
    script = [match(7, kind="last_match"), match(8), ticker, status, heartbeat(8)]
    async with following(Exchange(script), kafka) as (_, metrics, _, _):
        await until(lambda: metrics.frames["heartbeat"])

    assert {(record.topic, record.key): kafka.values(record.topic) for record in kafka.records} == {
        ("coinbase.raw.trades", "BTC-USD"): script[:2],
        ("coinbase.raw.tickers", "BTC-USD"): [ticker],
        ("coinbase.raw.status", "coinbase"): [status],
    }
    assert kafka.records[0].headers == [("received_at", b"%d" % RECEIVED_AT)]


async def test_what_cannot_be_read_is_a_dead_letter_and_the_feed_goes_on(kafka):
    broken = match(8)[:40]
    async with following(Exchange([broken, frame("rfq_matches"), match(8)]), kafka) as (_, metrics, _, _):
        await until(lambda: metrics.frames["matches"])

    assert kafka.values("coinbase.dlq") == [broken]
    assert dict(kafka.records[0].headers)["reason"] == b"Input data was truncated"
    assert kafka.values("coinbase.raw.trades") == [match(8)]
    assert metrics.frames["unknown"] == 1


async def test_a_trade_of_a_product_that_nobody_asked_for_is_a_dead_letter(kafka):
    async with following(Exchange([match(8, "XXX-USD"), match(8)]), kafka) as (_, metrics, _, _):
        await until(lambda: metrics.frames["matches"] == 2)

    assert kafka.values("coinbase.dlq") == [match(8, "XXX-USD")]


async def test_a_refused_product_is_told_and_the_others_are_subscribed_to_again(kafka):
    exchange = Exchange([refusal("XXX-USD"), match(8)])
    async with following(exchange, kafka, ("BTC-USD", "XXX-USD")) as (_, metrics, _, _):
        await until(lambda: len(exchange.requests) == 2 and metrics.frames["matches"])

    assert exchange.subscribed_to() == [["BTC-USD", "XXX-USD"], ["BTC-USD"]]
    assert [(event["kind"], event["product_id"]) for event in kafka.events()] == [("subscription_refused", "XXX-USD")]


async def test_when_every_product_is_refused_there_is_nothing_to_do(kafka):
    async with following(Exchange([refusal("XXX-USD"), refusal("YYY-USD")]), kafka, ("XXX-USD", "YYY-USD")) as (
        _,
        _,
        task,
        _,
    ):
        with pytest.raises(RefusalError, match="accepts none of the products XXX-USD, YYY-USD"):
            await task


async def test_a_lost_connection_is_made_again_and_what_was_announced_on_it_is_due(kafka):
    async with following(Exchange([heartbeat(9)], [match(10)]), kafka) as (books, metrics, _, _):
        await until(lambda: metrics.frames["matches"])
        owed = books["BTC-USD"].next_work()

    assert owed.gap.missing == [range(8, 10)]
    assert [event["kind"] for event in kafka.events()] == ["reconnect"]


@pytest.mark.parametrize("script", [[], [heartbeat(7)]], ids=["from the beginning", "after a heartbeat"])
async def test_a_connection_without_heartbeats_is_given_up(kafka, monkeypatch, script):
    monkeypatch.setattr(feed_module, "FIRST_HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(feed_module, "HEARTBEATS_MISSED_SECONDS", 0.05)
    exchange = Exchange(script, [heartbeat(7), match(8)])

    async def never_ends(connection):
        exchange.requests.append({})
        for message in exchange.scripts.pop(0):
            await connection.send(message, text=True)
        await connection.wait_closed()

    async with following(never_ends, kafka) as (_, metrics, _, _):
        await until(lambda: metrics.frames["matches"])

    assert "heartbeat" in kafka.events()[0]["reason"]


async def test_an_exchange_that_refuses_the_connection_is_tried_again(kafka):
    refusals = [HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE]

    def refuse_at_first(connection, request):
        return connection.respond(refusals.pop(0), "") if refusals else None

    async with following(Exchange([match(8)]), kafka, process_request=refuse_at_first) as (_, metrics, _, _):
        await until(lambda: metrics.frames["matches"])

    assert [event["kind"] for event in kafka.events()] == ["reconnect", "reconnect"]


async def test_what_the_connection_gave_before_the_stop_is_taken(kafka, monkeypatch):
    script = [match(trade_id) for trade_id in range(8, 508)]
    room, all_sent = asyncio.Event(), asyncio.Event()

    async def send_when_there_is_room(what):
        await room.wait()
        take(what)

    async def exchange(connection):
        for message in script:
            await connection.send(message, text=True)
        await (await connection.ping())
        all_sent.set()
        await connection.wait_closed()

    take = kafka.offer
    monkeypatch.setattr(kafka, "offer", lambda what: False)
    monkeypatch.setattr(kafka, "send", send_when_there_is_room)
    async with following(exchange, kafka) as (_, _, task, stop):
        await all_sent.wait()
        stop.set()
        room.set()
        await task

    assert kafka.values("coinbase.raw.trades") == script


async def test_while_kafka_has_no_room_nothing_is_read_and_the_silence_is_not_the_exchanges(kafka, monkeypatch):
    monkeypatch.setattr(feed_module, "HEARTBEATS_MISSED_SECONDS", 0.05)
    asked, room = asyncio.Event(), asyncio.Event()
    take = kafka.offer

    async def send_when_there_is_room(what):
        asked.set()
        await room.wait()
        take(what)

    async def exchange(connection):
        for message in (heartbeat(7), match(8)):
            await connection.send(message, text=True)
        await asked.wait()
        await connection.send(match(9), text=True)
        await connection.wait_closed()

    monkeypatch.setattr(kafka, "offer", lambda what: False)
    monkeypatch.setattr(kafka, "send", send_when_there_is_room)
    async with following(exchange, kafka) as (_, metrics, _, _):
        await asked.wait()
        await asyncio.sleep(0.2)
        assert metrics.frames["matches"] == 1

        room.set()
        await until(lambda: len(kafka.values("coinbase.raw.trades")) == 2)

    assert kafka.values("coinbase.raw.trades") == [match(8), match(9)]
    assert kafka.events() == []


async def test_a_new_field_is_kept_and_noted_and_an_unknown_type_is_counted_alone(kafka):
    with_field = match(9)[:-1] + b',"liquidity":"maker"}'
    script = [match(8), with_field, match(10), frame("unheard_of", liquidity=1), heartbeat(10)]
    drift = Drift(KNOWN_FIELDS)
    async with following(Exchange(script), kafka, drift=drift) as (_, metrics, _, _):
        await until(lambda: metrics.frames["heartbeat"])

    assert kafka.values("coinbase.raw.trades") == [match(8), with_field, match(10)]
    assert drift.counts == {Difference("new_field", "match", "liquidity", None, "string"): 1}
    assert (metrics.frames["unknown"], kafka.values("coinbase.dlq")) == (1, [])


async def test_a_field_of_another_type_makes_dead_letters_that_are_counted(kafka):
    changed = match(8).replace(b'"price":"1.5"', b'"price":1.5')
    drift = Drift(KNOWN_FIELDS)
    async with following(Exchange([changed, changed, heartbeat(7)]), kafka, drift=drift) as (_, metrics, _, _):
        await until(lambda: metrics.frames["heartbeat"])

    assert kafka.values("coinbase.dlq") == [changed, changed]
    assert drift.counts == {Difference("changed_type", "match", "price", "str", "number"): 2}


def test_no_field_of_a_recorded_session_is_new():
    drift = Drift(KNOWN_FIELDS)
    for recorded in (CHECKOUT / "tests/data/coinbase/session_2021-04-17.ndjson").read_bytes().splitlines():
        kind = msgspec.json.decode(recorded)["type"].removeprefix("last_")
        if kind in KNOWN_FIELDS:
            drift.look(kind, recorded, "spot")

    assert drift.counts == {}

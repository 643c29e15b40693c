from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from stack.replica.recordings import HOUR, moment
from streaming.bybit.feed import Feed
from streaming.bybit.parse import TICK
from streaming.metrics import Metrics
from streaming.product import ProductKey
from streaming.records import Origin
from streaming.uncounted import UncountedProduct
from tests.unit.stack.replica.conftest import Client, frame, frames
from tests.unit.stack.replica.market import FIVE, recording, trade
from tests.unit.streaming.conftest import Acknowledging

pytestmark = pytest.mark.unit

MILLISECOND = 1_000
TENTH = 100 * MILLISECOND
FIVE_MS = FIVE // MILLISECOND
both_markets = pytest.mark.parametrize("market", ["linear", "spot"])


async def follow(client: Client, market: str, *args: str) -> ClientWebSocketResponse:
    """Open a market's feed; with topics, subscribe to them."""
    socket = await client.http.ws_connect(f"/bybit/v5/public/{market}")
    if args:
        await socket.send_json({"op": "subscribe", "args": args, "req_id": "7"})
    return socket


def ids(received: dict) -> list[str]:
    return [element["i"] for element in received["data"]]


@pytest.mark.parametrize(
    ("market", "expected"),
    [
        ("linear", {"success": True, "ret_msg": "", "conn_id": "replica", "req_id": "7", "op": "subscribe"}),
        ("spot", {"success": True, "ret_msg": "subscribe", "conn_id": "replica", "op": "subscribe"}),
    ],
)
async def test_a_subscription_is_acknowledged_in_the_markets_form(open_exchange, market, expected):
    client = await open_exchange(recording(trade(1, HOUR - 1)))
    socket = await follow(client, market, "publicTrade.BTCUSDT")

    assert await frame(socket) == expected


@both_markets
async def test_an_unknown_topic_is_refused_and_none_of_its_request_holds(open_exchange, market):
    client = await open_exchange(recording(trade(1, TENTH)))
    socket = await follow(client, market, "publicTrade.BTCUSDT", "publicTrade.XUSDT")

    refused = await frame(socket)
    assert (refused["success"], refused["ret_msg"]) == (False, "error:handler not found,topic:publicTrade.XUSDT")

    client.clock.advance(TENTH)
    await socket.send_json({"op": "ping"})
    assert (await frame(socket))["ret_msg"] == "pong"


async def test_a_spot_request_may_name_ten_topics(open_exchange):
    client = await open_exchange(recording(trade(1)))
    socket = await follow(client, "spot", *["publicTrade.BTCUSDT"] * 11)

    assert (await frame(socket))["ret_msg"] == "args size >10"


@pytest.mark.parametrize(
    ("market", "expected"),
    [
        ("linear", {"success": True, "ret_msg": "pong", "conn_id": "replica", "req_id": "", "op": "ping"}),
        ("spot", {"success": True, "ret_msg": "pong", "conn_id": "replica", "op": "ping"}),
    ],
)
async def test_a_ping_is_answered_in_the_markets_form(open_exchange, market, expected):
    client = await open_exchange(recording(trade(1)))
    socket = await follow(client, market)

    await socket.send_json({"op": "ping"})

    assert await frame(socket) == expected


@pytest.mark.parametrize("text", ["{", '{"op":"auth"}', "[]"])
async def test_what_cannot_be_done_is_refused(open_exchange, text):
    client = await open_exchange(recording(trade(1)))
    socket = await follow(client, "linear")

    await socket.send_str(text)

    assert (await frame(socket))["success"] is False


async def test_trades_of_a_moment_come_in_one_frame_and_share_their_sequence(open_exchange):
    traded = [trade(1, 0), trade(2, TENTH, price="99.5", side="sell"), trade(3, TENTH + 1), trade(4, TENTH + 2000)]
    client = await open_exchange(recording(*traded), after=1)
    socket = await follow(client, "linear", "publicTrade.BTCUSDT")
    await frame(socket)

    client.clock.advance(2 * TENTH)
    received = await frame(socket)

    first, second, third = received["data"]
    assert (received["topic"], received["type"]) == ("publicTrade.BTCUSDT", "snapshot")
    assert {name: first[name] for name in ("T", "s", "S", "v", "p")} == {
        "T": FIVE_MS + 100,
        "s": "BTCUSDT",
        "S": "Buy",
        "v": "1",
        "p": "99.5",
    }
    assert first["seq"] == second["seq"] < third["seq"]


async def test_a_linear_id_is_a_uuid_and_a_spot_id_a_number_and_each_trade_keeps_its_own(open_exchange):
    client = await open_exchange(recording(trade(7, TENTH)), after=1)
    sockets = [await follow(client, market, "publicTrade.BTCUSDT") for market in ("linear", "linear", "spot")]
    for socket in sockets:
        await frame(socket)

    client.clock.advance(TENTH)
    [linear], [again], [spot] = [ids(await frame(socket)) for socket in sockets]

    assert linear == again
    assert len(linear) == 36
    assert spot == "2280000000000000007"


async def test_a_trade_out_of_order_does_not_take_the_times_back(open_exchange):
    client = await open_exchange(recording(trade(1, TENTH), trade(2, TENTH - 5000)))
    socket = await follow(client, "linear", "publicTrade.BTCUSDT")
    await frame(socket)

    client.clock.advance(2 * TENTH)

    assert [element["T"] for element in (await frame(socket))["data"]] == [FIVE_MS + 100] * 2


async def test_a_linear_ticker_is_a_snapshot_before_its_acknowledgement_and_then_only_what_changed(open_exchange):
    client = await open_exchange(recording(trade(1, 0, price="100.5"), trade(2, TENTH, price="99.5")), after=1)
    socket = await follow(client, "linear", "tickers.BTCUSDT")

    snapshot, ack = await frames(socket, 2)
    client.clock.advance(TENTH)
    delta = await frame(socket)

    assert ack["op"] == "subscribe"
    assert (snapshot["type"], snapshot["data"]["lastPrice"], snapshot["data"]["bid1Size"]) == ("snapshot", "100.5", "1")
    assert delta["type"] == "delta"
    assert delta["data"] == {
        "symbol": "BTCUSDT",
        "lastPrice": "99.5",
        "lowPrice24h": "99.5",
        "volume24h": "2",
        "bid1Price": "99.5",
        "ask1Price": "99.6",
    }


async def test_a_spot_ticker_is_always_a_snapshot_and_without_offers(open_exchange):
    client = await open_exchange(recording(trade(1, 0), trade(2, TENTH)), after=1)
    socket = await follow(client, "spot", "tickers.BTCUSDT")
    await frames(socket, 2)

    client.clock.advance(TENTH)
    received = await frame(socket)

    assert received["type"] == "snapshot"
    assert not {name for name in received["data"] if name.startswith(("bid", "ask"))}


@both_markets
async def test_the_producer_takes_each_trade_once_and_closes_what_was_traded(open_exchange, market):
    client = await open_exchange(recording(*(trade(number, number * TENTH) for number in range(1, 8))), after=TENTH)
    book = UncountedProduct(ProductKey("bybit", market, "BTCUSDT"), TICK)
    kafka, metrics, stop = Acknowledging(), Metrics("bybit"), asyncio.Event()
    url = f"ws://127.0.0.1:{client.http.port}/bybit/v5/public/{market}"
    feed = Feed(url, {"BTCUSDT": book}, Origin("bybit", market), kafka, metrics, stop, is_remote=False)
    following = asyncio.create_task(feed.follow())
    async with asyncio.timeout(5):
        while not metrics.frames["ack"]:
            await asyncio.sleep(0.001)
        for _ in range(6):
            client.clock.advance(TENTH)
        while len(kafka.values("bybit.raw.trades")) < 6:
            await asyncio.sleep(0.001)
        stop.set()
        await following

    assert [json.loads(value)["p"] for value in kafka.values("bybit.raw.trades")] == ["100"] * 6
    assert len({json.loads(value)["i"] for value in kafka.values("bybit.raw.trades")}) == 6
    assert book.news().closed_through == moment(FIVE + 7 * TENTH)
    assert kafka.values("bybit.dlq") == []


async def test_another_market_is_not_there(open_exchange):
    client = await open_exchange(recording(trade(1)))

    async with client.http.get("/bybit/v5/public/inverse") as answer:
        assert answer.status == 404


async def test_the_clients_are_told_when_the_exchange_goes(open_exchange):
    client = await open_exchange(recording(trade(1)))
    socket = await follow(client, "linear")

    await client.http.close()

    assert (await socket.receive(timeout=5)).type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED)

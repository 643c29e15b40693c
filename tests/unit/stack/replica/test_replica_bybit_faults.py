"""What Bybit's replica does wrong on request, and what the producer makes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

import msgspec
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from include.contracts.topics import BYBIT_TRADES
from stack.replica.plan import Plan
from stack.replica.recordings import SECOND, moment
from streaming.backoff import Backoff
from streaming.bridge import Bridger
from streaming.bybit import feed as feed_module
from streaming.bybit.feed import Feed
from streaming.bybit.messages import KNOWN_FIELDS
from streaming.bybit.parse import TICK, UnreadableTrade
from streaming.bybit.rest import BybitRecentTrades, request_limit
from streaming.drift import Difference, Drift
from streaming.metrics import Metrics
from streaming.product import ProductKey
from streaming.progress import ProgressRecord
from streaming.records import Origin
from streaming.session import open_session
from streaming.uncounted import UncountedProduct
from tests.unit.stack.replica.conftest import Client, frame
from tests.unit.stack.replica.market import FIVE, recording, trade
from tests.unit.streaming.conftest import Acknowledging

pytestmark = pytest.mark.unit

TENTH = SECOND // 10
both_markets = pytest.mark.parametrize("market", ["linear", "spot"])


def arm(client: Client, market: str, **fault: object) -> None:
    faults = [{"feed": f"bybit/{market}", **fault}]
    client.faults.arm(msgspec.convert({"faults": faults, "seed": 7}, Plan), client.clock.now())


async def opened(open_exchange, count: int = 9) -> Client:
    """An exchange with a trade every tenth of a second, at the moment of the first."""
    return await open_exchange(recording(*(trade(number, number * TENTH) for number in range(1, count))), after=TENTH)


async def follow(client: Client, market: str) -> ClientWebSocketResponse:
    socket = await client.http.ws_connect(f"/bybit/v5/public/{market}", autoping=False)
    await socket.send_json({"op": "subscribe", "args": ["publicTrade.BTCUSDT"]})
    assert (await frame(socket))["op"] == "subscribe"
    return socket


def numbers(elements: list[dict]) -> list[int]:
    """The trades by their ids on the tape, which are also the tenth of the second in which they were made."""
    return [(element["T"] - FIVE // 1000) // 100 for element in elements]


@both_markets
async def test_a_skipped_trade_is_left_out_of_the_feed_and_rest_has_it(open_exchange, market):
    client = await opened(open_exchange)
    arm(client, market, kind="skip", product="BTCUSDT")
    socket = await follow(client, market)

    client.clock.advance(3 * TENTH)

    assert numbers((await frame(socket))["data"]) == [3, 4]
    _, answer = await client.get(f"/bybit/v5/market/recent-trade?category={market}&symbol=BTCUSDT")
    assert len(answer["result"]["list"]) == 4


@both_markets
@pytest.mark.parametrize(
    ("fault", "sent"), [({"kind": "repeat"}, [2, 2, 3, 4]), ({"kind": "reorder", "count": 3}, [4, 3, 2])]
)
async def test_trades_are_repeated_and_put_out_of_order(open_exchange, market, fault, sent):
    client = await opened(open_exchange)
    arm(client, market, **fault)
    socket = await follow(client, market)

    client.clock.advance(3 * TENTH)

    assert numbers((await frame(socket))["data"]) == sent


async def test_a_group_that_does_not_fill_is_not_held_for_ever(open_exchange):
    client = await opened(open_exchange, count=4)
    arm(client, "linear", kind="reorder", count=3)
    socket = await follow(client, "linear")

    client.clock.advance(2 * TENTH)
    await socket.send_json({"op": "ping"})
    assert (await frame(socket))["op"] == "ping"
    client.clock.advance(SECOND)

    assert numbers((await frame(socket))["data"]) == [3, 2]


@both_markets
async def test_half_a_frame_and_a_frame_of_an_unknown_topic_come_before_their_trade(open_exchange, market):
    client = await opened(open_exchange)
    arm(client, market, kind="broken", after=0.2)
    arm(client, market, kind="unknown")
    socket = await follow(client, market)

    client.clock.advance(TENTH)
    assert (await frame(socket))["topic"] == "unheardOf.BTCUSDT"
    assert numbers((await frame(socket))["data"]) == [2]
    client.clock.advance(TENTH)
    with pytest.raises(json.JSONDecodeError):
        await frame(socket)
    assert numbers((await frame(socket))["data"]) == [3]


@both_markets
@pytest.mark.parametrize("field", ["price", "p"])
async def test_a_field_is_new_or_of_another_type_in_the_trade_itself(open_exchange, market, field):
    client = await opened(open_exchange)
    arm(client, market, kind="new_field")
    arm(client, market, kind="changed_type", field=field, after=0.2)
    socket = await follow(client, market)

    client.clock.advance(TENTH)
    [new] = (await frame(socket))["data"]
    client.clock.advance(TENTH)
    [changed] = (await frame(socket))["data"]

    assert (new["liquidity"], new["p"], numbers([new])) == ("maker", "100", [2])
    assert (changed["p"], numbers([changed])) == (100, [3])


@both_markets
async def test_a_dropped_connection_ends_without_a_word_and_misses_the_trade(open_exchange, market):
    client = await opened(open_exchange)
    arm(client, market, kind="drop", after=0.2)
    socket = await follow(client, market)

    client.clock.advance(TENTH)
    assert numbers((await frame(socket))["data"]) == [2]
    client.clock.advance(TENTH)

    assert (await socket.receive(timeout=5)).type in (WSMsgType.CLOSED, WSMsgType.ERROR)
    assert socket.close_code in (None, 1006)


@both_markets
async def test_a_stalled_connection_answers_nothing_and_what_it_misses_is_lost(open_exchange, market):
    client = await opened(open_exchange)
    arm(client, market, kind="stall", seconds=0.3)
    socket = await follow(client, market)

    client.clock.advance(TENTH)
    await asyncio.sleep(0.01)
    await socket.send_json({"op": "ping"})
    await socket.ping()
    with pytest.raises(asyncio.TimeoutError):
        await socket.receive(timeout=0.05)
    client.clock.advance(2 * TENTH)
    await asyncio.sleep(0.01)
    client.clock.advance(TENTH)

    assert numbers((await frame(socket))["data"]) == [5]


async def test_a_fault_of_one_feed_leaves_the_others_alone_and_is_listed_with_its_feed(open_exchange):
    client = await opened(open_exchange)
    arm(client, "spot", kind="skip")
    linear, spot = [await follow(client, market) for market in ("linear", "spot")]
    coinbase = await client.follow("BTC-USD", channels=["matches"])
    assert (await frame(coinbase))["type"] == "last_match"

    client.clock.advance(2 * TENTH)

    assert numbers((await frame(linear))["data"]) == [2, 3]
    assert numbers((await frame(spot))["data"]) == [3]
    assert [(await frame(coinbase))["trade_id"] for _ in range(2)] == [2, 3]
    _, report = await client.get("/control/faults")
    [injection] = report["injected"]
    assert (injection["kind"], injection["feed"], injection["product_id"], injection["trade_ids"]) == (
        "skip", "bybit/spot", "BTCUSDT", [2],
    )  # fmt: skip


class Followed(NamedTuple):
    """A producer's feed and bridger at work."""

    product: UncountedProduct
    kafka: Acknowledging
    metrics: Metrics
    drift: Drift

    def trades(self) -> list[int]:
        """What reached Kafka of each trade, from the feed or from REST, by its place on the tape."""
        values = [json.loads(value) for value in self.kafka.values("bybit.raw.trades")]
        return [(int(one.get("T") or one["time"]) - FIVE // 1000) // 100 for one in values]

    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.kafka.events()]

    def progress(self) -> ProgressRecord:
        """The last of what there is to publish."""
        news = None
        while record := self.product.news():
            self.product.published(record)
            news = record
        return news


@asynccontextmanager
async def produced(client: Client, market: str) -> AsyncIterator[Followed]:
    """The producer's own parts, following one symbol of the replica."""
    kafka, metrics, stop, came = Acknowledging(), Metrics("bybit"), asyncio.Event(), asyncio.Event()
    drift, origin = Drift(KNOWN_FIELDS), Origin("bybit", market)
    product = UncountedProduct(ProductKey("bybit", market, "BTCUSDT"), TICK, break_came=came.set)
    buried: list[UnreadableTrade] = []

    async def bury(element: UnreadableTrade) -> None:
        buried.append(element)

    root = f"127.0.0.1:{client.http.port}/bybit"
    async with open_session(f"http://{root}", is_remote=False) as session:
        recent = BybitRecentTrades(session, market, metrics, request_limit(), bury)
        bridger = Bridger(product, recent, kafka, metrics, origin, BYBIT_TRADES, came)
        feed = Feed(
            f"ws://{root}/v5/public/{market}", {"BTCUSDT": product}, origin, kafka, metrics, stop,
            is_remote=False, drift=drift,
        )  # fmt: skip
        feed._pauses = Backoff(0.001, 0.001)
        tasks = [asyncio.create_task(feed.follow()), asyncio.create_task(bridger.run())]
        try:
            await until(lambda: metrics.frames["ack"])
            yield Followed(product, kafka, metrics, drift)
        finally:
            stop.set()
            await asyncio.wait([tasks[0]])
            tasks[1].cancel()
            await asyncio.wait(tasks)
    assert buried == []
    for task in tasks:
        assert task.cancelled() or task.exception() is None


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def play(client: Client, followed: Followed, *trades: int) -> None:
    """Let the clock go from trade to trade, each to be taken before the next comes."""
    for number in trades:
        client.clock.advance(TENTH)
        await until(lambda number=number: number in followed.trades())


def at(number: int):
    return moment(FIVE + number * TENTH)


@both_markets
async def test_what_a_cut_connection_missed_comes_from_rest_and_the_product_is_covered_on(open_exchange, market):
    client = await opened(open_exchange)
    async with produced(client, market) as followed:
        await play(client, followed, 2, 3)
        arm(client, market, kind="drop")
        client.clock.advance(TENTH)
        await until(lambda: followed.metrics.frames["ack"] == 2)
        await play(client, followed, 5, 6)
        await until(lambda: "bridged" in followed.kinds())

    assert sorted(followed.trades()) == [2, 3, 4, 5, 6]
    assert followed.kinds() == ["reconnect", "bridged"]
    progress = followed.progress()
    assert (progress.covered_from, progress.closed_through) == (at(2) + TICK, at(6))


async def test_a_cut_that_outlasts_what_rest_has_is_told_as_unprovable(open_exchange):
    # One in each millisecond of two tenths of a second, and one more at the end of the third.
    many = [trade(number, number * 1000) for number in range(1, 201)] + [trade(201, 3 * TENTH)]
    client = await open_exchange(recording(*many), after=1000)
    async with produced(client, "spot") as followed:
        client.clock.advance(TENTH)
        await until(lambda: followed.product.last_time)
        arm(client, "spot", kind="drop")
        client.clock.advance(TENTH)
        await until(lambda: followed.metrics.frames["ack"] == 2)
        client.clock.advance(TENTH)
        await until(lambda: "unprovable" in followed.kinds())

    event = followed.kafka.events()[-1]
    assert event["reason"].endswith("the venue's newest trades do not reach back to the last one before it")
    assert (event["unprovable_from"], event["unprovable_until"]) == (
        "2025-11-25T05:00:00.101000Z",
        "2025-11-25T05:00:00.301000Z",
    )
    assert len(followed.kafka.values("bybit.raw.trades")) == 100 + 60


@both_markets
@pytest.mark.parametrize("fault", [{"kind": "broken", "instead": True}, {"kind": "changed_type"}])
async def test_a_trade_that_cannot_be_read_is_a_dead_letter_and_comes_from_rest(open_exchange, market, fault):
    client = await opened(open_exchange)
    async with produced(client, market) as followed:
        await play(client, followed, 2, 3)
        arm(client, market, **fault)
        client.clock.advance(TENTH)
        await until(lambda: followed.kafka.values("bybit.dlq"))
        await play(client, followed, 5, 6)
        await until(lambda: "bridged" in followed.kinds())

    [injection] = client.faults.injected
    [letter] = followed.kafka.values("bybit.dlq")
    assert letter.decode() in injection.frame
    assert sorted(followed.trades()) == [2, 3, 4, 5, 6]
    assert followed.kinds() == ["bridged"]
    assert followed.progress().covered_from == at(2) + TICK
    assert sum(followed.drift.counts.values()) == (fault["kind"] == "changed_type")


async def test_a_new_field_is_kept_and_noted_and_an_unknown_topic_counted(open_exchange):
    client = await opened(open_exchange)
    async with produced(client, "linear") as followed:
        arm(client, "linear", kind="new_field")
        arm(client, "linear", kind="unknown")
        await play(client, followed, 2, 3)

    assert followed.drift.counts == {Difference("new_field", "publicTrade", "liquidity", None, "string"): 1}
    assert followed.metrics.frames["unknown"] == 1
    assert (followed.trades(), followed.kinds()) == ([2, 3], [])


async def test_trades_out_of_order_are_all_taken_before_the_last_of_them_closes_anything(open_exchange):
    client = await opened(open_exchange)
    async with produced(client, "linear") as followed:
        await play(client, followed, 2)
        arm(client, "linear", kind="reorder", count=3)
        client.clock.advance(3 * TENTH)
        await until(lambda: len(followed.trades()) == 4)

    assert followed.trades() == [2, 5, 4, 3]
    assert (followed.product.late_trades, followed.kinds()) == (0, [])
    assert followed.progress().closed_through == at(5)


async def test_a_stalled_connection_is_given_up_and_what_it_missed_comes_from_rest(open_exchange, monkeypatch):
    client = await opened(open_exchange)
    async with produced(client, "linear") as followed:
        await play(client, followed, 2, 3)
        monkeypatch.setattr(feed_module, "SILENCE_SECONDS", 0.05)
        arm(client, "linear", kind="stall", seconds=timedelta(hours=1).total_seconds(), after=0.2)
        await play(client, followed, 4)
        client.clock.advance(TENTH)
        await until(lambda: followed.metrics.frames["ack"] == 2)
        monkeypatch.setattr(feed_module, "SILENCE_SECONDS", 30.0)
        await play(client, followed, 6, 7)
        await until(lambda: "bridged" in followed.kinds())

    assert "nothing came, not even a pong" in followed.kafka.events()[0]["reason"]
    assert sorted(followed.trades()) == [2, 3, 4, 5, 6, 7]
    assert followed.progress().covered_from == at(2) + TICK

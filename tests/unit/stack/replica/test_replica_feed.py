from __future__ import annotations

import asyncio

import pytest
from aiohttp import WSMsgType

from stack.replica import feed
from stack.replica.plan import Drop, Plan, Skip, Stall
from stack.replica.recordings import HOUR, SECOND
from tests.unit.stack.replica.conftest import frame, frames
from tests.unit.stack.replica.market import recording, trade

pytestmark = pytest.mark.unit

ETH = "ETH-USD"


def seen(received: list[dict]) -> list[tuple]:
    return [(one["type"], one.get("trade_id", one.get("last_trade_id"))) for one in received]


async def test_a_subscription_is_acknowledged_with_all_that_the_connection_has(open_exchange):
    client = await open_exchange(recording(trade(1, HOUR - 1)))
    socket = await client.follow()

    await socket.send_json({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["matches"]})
    await socket.send_json({"type": "subscribe", "channels": [{"name": "ticker", "product_ids": [ETH]}]})

    assert await frames(socket, 2) == [
        {"type": "subscriptions", "channels": [{"name": "matches", "product_ids": ["BTC-USD"], "account_ids": None}]},
        {
            "type": "subscriptions",
            "channels": [
                {"name": "matches", "product_ids": ["BTC-USD"], "account_ids": None},
                {"name": "ticker", "product_ids": [ETH], "account_ids": None},
            ],
        },
    ]


async def test_the_last_match_comes_first_and_live_trades_join_it(open_exchange):
    client = await open_exchange(recording(trade(1, 0), trade(2, 10), trade(3, 20), trade(4, 30)), after=15)
    socket = await client.follow("BTC-USD", channels=["matches"])

    client.clock.advance(10)
    client.clock.advance(10)

    assert seen(await frames(socket, 3)) == [("last_match", 2), ("match", 3), ("match", 4)]


async def test_each_subscription_brings_a_last_match_again(open_exchange):
    client = await open_exchange(recording(trade(1, 0)), after=15)
    socket = await client.follow("BTC-USD", channels=["matches"])

    await socket.send_json({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["matches"]})

    assert seen(await frames(socket, 3)) == [("last_match", 1), ("subscriptions", None), ("last_match", 1)]


async def test_match_and_ticker_of_a_trade_are_neighbours_with_opposite_sides(open_exchange):
    client = await open_exchange(recording(trade(1, 10, price="99.5", size="0.25", side="sell"), trade(2, 10)))
    socket = await client.follow("BTC-USD", channels=["matches", "ticker"])

    client.clock.advance(10)
    first, second, *others = await frames(socket, 4)

    order_ids = {"maker_order_id": first.pop("maker_order_id"), "taker_order_id": first.pop("taker_order_id")}
    assert all(len(order_id) == 36 for order_id in order_ids.values())
    assert first == {
        "type": "match", "trade_id": 1, "side": "sell", "size": "0.25", "price": "99.5", "product_id": "BTC-USD",
        "sequence": 10, "time": "2025-11-25T05:00:00.000010Z",
    }  # fmt: skip
    assert second == {
        "type": "ticker", "sequence": 10, "product_id": "BTC-USD", "price": "99.5", "open_24h": "99.5",
        "volume_24h": "0.25000000", "low_24h": "99.5", "high_24h": "99.5", "volume_30d": "0.25000000",
        "best_bid": "99.4", "best_bid_size": "0.25000000", "best_ask": "99.5", "best_ask_size": "0.25000000",
        "side": "buy", "time": "2025-11-25T05:00:00.000010Z", "trade_id": 1, "last_size": "0.25",
    }  # fmt: skip
    assert seen(others) == [("match", 2), ("ticker", 2)]


async def test_heartbeats_come_every_second_after_the_trades_before_them(open_exchange):
    client = await open_exchange(recording(trade(1, SECOND), trade(2, SECOND + 1)))
    socket = await client.follow("BTC-USD", "DOGE-USD", channels=["matches", "heartbeat"])

    client.clock.advance(2 * SECOND)

    received = await frames(socket, 6)
    assert seen(received) == [
        ("match", 1), ("heartbeat", 1), ("heartbeat", 0), ("match", 2), ("heartbeat", 2), ("heartbeat", 0),
    ]  # fmt: skip
    assert received[2] == {
        "type": "heartbeat", "last_trade_id": 0, "product_id": "DOGE-USD", "sequence": 0,
        "time": "2025-11-25T05:00:01.000000Z",
    }  # fmt: skip


async def test_status_comes_at_once_and_at_its_interval(open_exchange):
    client = await open_exchange(recording(trade(1, HOUR - 1)))
    socket = await client.follow(channels=[{"name": "status"}])

    client.clock.advance(feed.STATUS_EVERY * SECOND)

    first, second = await frames(socket, 2)
    assert first == second
    assert {"BTC-USD", "DOGE-USD"} <= {product["id"] for product in first["products"]}
    assert {"BTC", "DOGE", "USD"} <= {currency["id"] for currency in first["currencies"]}


async def test_a_bad_product_is_refused_while_the_good_one_plays(open_exchange):
    client = await open_exchange(recording(trade(1, 0)), after=1)
    socket = await client.follow()

    await socket.send_json({"type": "subscribe", "product_ids": ["XXX-USD", "BTC-USD"], "channels": ["matches"]})

    refused, *others = await frames(socket, 3)
    assert refused == {
        "type": "error", "message": "Failed to subscribe", "reason": "XXX-USD is not a valid product",
    }  # fmt: skip
    assert seen(others) == [("subscriptions", None), ("last_match", 1)]


async def test_what_is_unsubscribed_is_sent_no_more(open_exchange):
    client = await open_exchange(recording(trade(1, 10), trade(1, 10, product=ETH), trade(2, 20, product=ETH)))
    socket = await client.follow("BTC-USD", ETH, channels=["matches"])

    await socket.send_json({"type": "unsubscribe", "product_ids": [ETH], "channels": ["matches"]})
    acknowledged = await frame(socket)
    client.clock.advance(10)

    assert acknowledged["channels"] == [{"name": "matches", "product_ids": ["BTC-USD"], "account_ids": None}]
    assert seen([await frame(socket)]) == [("match", 1)]
    assert (await client.get("/health"))[1]["connections"] == 1


async def test_a_connection_without_a_subscription_is_closed(open_exchange):
    client = await open_exchange(recording(trade(1, 0)), subscribe_within=0.01)
    socket = await client.follow()

    assert await frame(socket) == {"type": "error", "message": "no subscription within 0.01 s"}
    assert (await socket.receive(timeout=10)).type is WSMsgType.CLOSE


async def test_a_repeat_in_the_recording_is_a_repeat_on_the_feed(open_exchange):
    client = await open_exchange(recording(trade(1, 10), trade(2, 20), trade(2, 20)))
    socket = await client.follow("BTC-USD", channels=["matches"])

    client.clock.advance(20)

    assert seen(await frames(socket, 3)) == [("match", 1), ("match", 2), ("match", 2)]


async def test_a_client_that_does_not_read_is_disconnected(open_exchange, monkeypatch):
    monkeypatch.setattr(feed, "_MOST_WAITING", 3)
    client = await open_exchange(recording(*(trade(n, 10) for n in range(1, 6))))
    socket = await client.follow("BTC-USD", channels=["matches"])

    client.clock.advance(10)

    received = [await socket.receive(timeout=10)]
    while received[-1].type is WSMsgType.TEXT:
        received.append(await socket.receive(timeout=10))
    assert received[-2].json() == {"type": "error", "message": "ErrSlowConsume"}
    assert received[-1].type is WSMsgType.CLOSE


async def test_a_client_that_sends_too_much_is_disconnected(open_exchange):
    client = await open_exchange(recording(trade(1, 10)))
    socket = await client.follow("BTC-USD", channels=["matches"])

    for _ in range(101):
        await socket.send_json({"type": "unsubscribe", "channels": ["ticker"]})

    received = [await socket.receive(timeout=10)]
    while received[-1].type is WSMsgType.TEXT:
        received.append(await socket.receive(timeout=10))
    assert received[-2].json() == {"type": "error", "message": "ErrSlowRead"}


async def test_connections_open_at_a_limited_rate(open_exchange):
    client = await open_exchange(recording(trade(1, 10)))
    for _ in range(20):
        await client.follow()

    async with client.http.get("/coinbase/ws") as answer:
        assert answer.status == 429


async def test_a_machine_that_slept_finds_its_connections_cut(open_exchange):
    client = await open_exchange(recording(trade(1, 10), trade(2, 20 * SECOND)))
    socket = await client.follow("BTC-USD", channels=["matches"])

    client.clock.advance(31 * SECOND)

    assert (await socket.receive(timeout=10)).type in (WSMsgType.CLOSED, WSMsgType.ERROR)
    again = await client.follow("BTC-USD", channels=["matches"])
    assert seen([await frame(again)]) == [("last_match", 2)]


async def test_a_dropped_connection_ends_without_a_word_and_misses_the_trade(open_exchange):
    client = await open_exchange(recording(trade(1, 10), trade(2, 20)))
    socket = await client.follow("BTC-USD", channels=["matches"])
    client.faults.arm(Plan((Drop(),)), client.clock.now())

    client.clock.advance(10)

    assert (await socket.receive(timeout=10)).type in (WSMsgType.CLOSED, WSMsgType.ERROR)
    assert [injection.trade_ids for injection in client.faults.injected] == [(1,)]


async def test_faults_do_not_strike_at_trades_that_nobody_is_sent(open_exchange):
    client = await open_exchange(recording(trade(1, 10), trade(2, 20), trade(3, 30)))
    socket = await client.follow("BTC-USD", channels=["matches"])
    client.faults.arm(Plan((Skip(after=0.000025), Drop())), client.clock.now())

    client.clock.advance(30)

    assert (await socket.receive(timeout=10)).type in (WSMsgType.CLOSED, WSMsgType.ERROR)
    assert [injection.kind for injection in client.faults.injected] == ["drop"]


async def test_a_skipped_trade_is_still_told_by_heartbeat_and_rest(open_exchange):
    client = await open_exchange(recording(trade(1, 10), trade(2, 20)))
    socket = await client.follow("BTC-USD", channels=["matches", "ticker", "heartbeat"])
    client.faults.arm(Plan((Skip(after=0.000015),)), client.clock.now())

    client.clock.advance(10)
    client.clock.advance(SECOND)

    assert seen(await frames(socket, 3)) == [("match", 1), ("ticker", 1), ("heartbeat", 2)]
    assert [one["trade_id"] for one in (await client.get("/coinbase/products/BTC-USD/trades"))[1]] == [2, 1]


async def test_bytes_that_are_no_text_are_refused(open_exchange):
    client = await open_exchange(recording(trade(1, 10)))
    socket = await client.follow()

    await socket.send_bytes(b"\xff\xfe{")

    refused = await frame(socket)
    assert refused["type"] == "error"
    assert refused["reason"].startswith("Malformed JSON")


async def test_a_stalled_connection_stays_open_and_silent(open_exchange):
    client = await open_exchange(recording(trade(1, 10), trade(2, 20), trade(3, 5 * SECOND)))
    stalled = await client.follow("BTC-USD", channels=["matches", "heartbeat"])
    client.faults.arm(Plan((Stall(seconds=4),)), client.clock.now())

    client.clock.advance(10)
    fresh = await client.follow("BTC-USD", channels=["matches"])
    await stalled.ping()
    await stalled.send_json({"type": "unsubscribe", "channels": ["heartbeat"]})
    client.clock.advance(10)
    assert seen(await frames(fresh, 2)) == [("last_match", 1), ("match", 2)]
    client.clock.advance(5 * SECOND)

    assert seen(await frames(stalled, 2)) == [("match", 3), ("heartbeat", 3)]


async def test_faults_are_armed_listed_and_cleared_over_http(open_exchange):
    client = await open_exchange(recording(trade(1, 10)))

    async with client.http.post(
        "/control/faults", json={"faults": [{"kind": "delay", "seconds": 2}], "seed": 3}
    ) as put:
        assert await put.json() == {"seed": 3, "armed": [{"kind": "delay", "seconds": 2.0}], "injected": []}
    await client.get("/coinbase/products")
    status, report = await client.get("/control/faults")
    async with client.http.delete("/control/faults") as cleared:
        assert (await cleared.json())["armed"] == []

    assert status == 200
    assert client.clock.slept == [2.0]
    assert report["injected"] == [
        {"kind": "delay", "at": "2025-11-25T05:00:00.000000Z", "path": "/coinbase/products", "seconds": 2.0}
    ]


async def test_a_plan_that_makes_no_sense_is_refused(open_exchange):
    client = await open_exchange(recording(trade(1, 10)))

    async with client.http.post("/control/faults", json={"faults": [{"kind": "sulk"}]}) as answer:
        assert answer.status == 400
        assert "sulk" in (await answer.json())["message"]


async def test_the_server_says_goodbye_when_it_stops(open_exchange):
    client = await open_exchange(recording(trade(1, 10)))
    socket = await client.follow("BTC-USD", channels=["matches"])

    closing = asyncio.create_task(client.http.server.close())

    message = await socket.receive(timeout=10)
    assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
    await closing

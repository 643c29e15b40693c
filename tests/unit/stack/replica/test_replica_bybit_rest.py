from __future__ import annotations

import msgspec
import pytest

from stack.replica.plan import Plan
from stack.replica.recordings import SECOND
from streaming.bybit.parse import parse_frame, parse_reply
from tests.unit.stack.replica.conftest import frame
from tests.unit.stack.replica.market import FIVE, recording, trade

pytestmark = pytest.mark.unit

RECENT = "/bybit/v5/market/recent-trade"
LINEAR = f"{RECENT}?category=linear&symbol=BTCUSDT"
both_markets = pytest.mark.parametrize("market", ["linear", "spot"])


async def test_a_trade_is_written_as_the_exchange_does(open_exchange):
    client = await open_exchange(recording(trade(7, 1500, price="99.5", size="0.2", side="sell")), after=SECOND)

    status, answer = await client.get(f"{RECENT}?category=spot&symbol=BTCUSDT&limit=1")

    at = FIVE // 1000 + 1
    assert (status, answer) == (
        200,
        {
            "retCode": 0, "retMsg": "OK", "retExtInfo": {}, "time": FIVE // 1000 + 1000,
            "result": {
                "category": "spot",
                "list": [{
                    "execId": "2280000000000000007", "symbol": "BTCUSDT", "price": "99.5", "size": "0.2", "side": "Buy",
                    "time": str(at), "isBlockTrade": False, "isRPITrade": False, "seq": str(at),
                }],
            },
        },
    )  # fmt: skip


@both_markets
async def test_a_trade_has_the_id_and_time_that_the_feed_says_though_it_is_out_of_order(open_exchange, market):
    traded = (trade(1, 0), trade(2, 5 * SECOND), trade(3, 4 * SECOND), trade(4, 6 * SECOND))
    client = await open_exchange(recording(*traded), after=1)
    socket = await client.http.ws_connect(f"/bybit/v5/public/{market}")
    await socket.send_json({"op": "subscribe", "args": ["publicTrade.BTCUSDT"]})
    await frame(socket)

    client.clock.advance(10 * SECOND)
    live = parse_frame((await socket.receive_str()).encode())
    async with client.http.get(f"{RECENT}?category={market}&symbol=BTCUSDT") as answer:
        asked = parse_reply(await answer.read(), "BTCUSDT")

    assert [(one.trade_id, one.time) for one in live.elements] == [(one.trade_id, one.time) for one in asked.trades[1:]]


@pytest.mark.parametrize(("query", "count"), [("", 500), ("&limit=3", 3), ("&limit=5000", 1000)])
async def test_the_newest_come_first_and_no_more_than_the_market_gives(open_exchange, query, count):
    client = await open_exchange(recording(*(trade(n, n * 1000) for n in range(1, 1201))), after=2 * SECOND)

    _, linear = await client.get(LINEAR + query)
    _, spot = await client.get(LINEAR.replace("linear", "spot") + query)

    assert [int(one["time"]) - FIVE // 1000 for one in linear["result"]["list"]] == [*range(1200, 1200 - count, -1)]
    assert len(spot["result"]["list"]) == min(count, 60)


@pytest.mark.parametrize(
    "query", ["symbol=BTCUSDT", "category=option&symbol=BTCUSDT", "category=linear", "category=spot&symbol=X", "l"]
)
async def test_what_it_does_not_have_is_refused_with_a_code(open_exchange, query):
    client = await open_exchange(recording(trade(1)), after=SECOND)

    status, answer = await client.get(f"{RECENT}?{query}")

    assert (status, answer["retCode"], answer["result"]) == (200, 10001, {})


async def test_who_asks_too_often_is_shut_out(open_exchange):
    client = await open_exchange(recording(trade(1)), after=SECOND)
    for _ in range(600):
        async with client.http.get(LINEAR) as answer:
            assert answer.status == 200

    async with client.http.get(LINEAR) as answer:
        assert (answer.status, await answer.text()) == (403, "access too frequent")


async def test_faults_of_requests_can_be_meant_for_it(open_exchange):
    client = await open_exchange(recording(trade(1)), after=SECOND)
    fault = {"kind": "too_many_requests", "path": "/bybit/", "product": "BTCUSDT"}
    client.faults.arm(msgspec.convert({"faults": [fault]}, Plan), FIVE)

    status, answer = await client.get(LINEAR)

    assert (status, answer["retCode"], answer["retMsg"]) == (429, 10006, "Too many visits!")
    assert [injection.path for injection in client.faults.injected] == [LINEAR]

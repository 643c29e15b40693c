from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from streaming.bybit.parse import UnreadableTrade
from streaming.bybit.rest import BybitRecentTrades
from streaming.metrics import Metrics
from streaming.ratelimit import TokenBucket
from tests.unit.streaming.bybit.frames import recent, reply

pytestmark = pytest.mark.unit

JSON = "application/json"


@asynccontextmanager
async def exchange(answer: web.Response, market: str = "linear"):
    """What an exchange that gives this answer is asked, what was buried of it, and the limit that is kept."""
    asked, buried = [], []
    limit = TokenBucket(100, 100, clock=lambda: 0.0)

    async def trades(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return answer

    async def bury(element: UnreadableTrade) -> None:
        buried.append(element.raw)

    app = web.Application()
    app.router.add_get("/v5/market/recent-trade", trades)
    async with TestServer(app) as server, ClientSession(str(server.make_url("/"))) as session:
        yield BybitRecentTrades(session, market, Metrics("bybit"), limit, bury), asked, buried, limit


@pytest.mark.parametrize(("market", "most"), [("linear", 1000), ("spot", 60)])
async def test_as_many_trades_are_asked_for_as_the_market_gives(market, most):
    answer = web.Response(body=reply(recent(2), recent(1)), content_type=JSON)
    async with exchange(answer, market) as (archive, asked, _, _):
        found = await archive.trades("BTCUSDT")

    assert asked == [f"/v5/market/recent-trade?category={market}&symbol=BTCUSDT&limit={most}"]
    assert ([trade.raw for trade in found.trades], found.is_whole) == ([recent(1), recent(2)], True)


async def test_an_element_that_is_no_trade_is_buried_and_the_answer_is_not_whole():
    answer = web.Response(body=reply(recent(2), b'{"execId":7}'), content_type=JSON)
    async with exchange(answer) as (archive, _, buried, _):
        found = await archive.trades("BTCUSDT")

    assert (len(found.trades), found.is_whole, buried) == (1, False, [b'{"execId":7}'])


@pytest.mark.parametrize(
    ("answer", "held"),
    [
        (lambda: web.Response(status=403, text="access too frequent"), 600),
        (lambda: web.Response(status=429, headers={"Retry-After": "3"}), 3),
        (lambda: web.Response(body=b'{"retCode":10006,"retMsg":"Too many visits!","result":{}}'), 1),
        (lambda: web.Response(body=b'{"retCode":10001,"retMsg":"params error","result":{}}'), 0),
        (lambda: web.Response(status=500), 0),
        (lambda: web.Response(text="<html>"), 0),
    ],
    ids=["shut out", "429", "too many visits", "refused", "500", "no reply"],
)
async def test_an_exchange_in_trouble_gives_nothing_and_is_left_alone_as_long_as_it_wants(answer, held):
    async with exchange(answer()) as (archive, _, _, limit):
        assert await archive.trades("BTCUSDT") is None

        assert limit.reserve() == held

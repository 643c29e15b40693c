from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from streaming.backoff import Backoff
from streaming.coinbase.parse import UnreadableTrade
from streaming.coinbase.rest import CoinbaseArchive
from streaming.metrics import Metrics
from streaming.repair import UnknownProductError

pytestmark = pytest.mark.unit

TRADE = '{"trade_id":%d,"time":"2016-05-12T15:04:30.98209Z","price":"453.32000000","size":"0.01","side":"buy"}'


@asynccontextmanager
async def exchange(*answers: web.Response):
    """An archive whose exchange gives these answers one after another; with what it was asked and what it buried."""
    asked, buried, left = [], [], list(answers)

    async def trades(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return left.pop(0)

    async def bury(product_id: str, element: UnreadableTrade) -> None:
        buried.append(element.raw)

    app = web.Application()
    app.router.add_get("/products/{id}/trades", trades)
    async with TestServer(app) as server, ClientSession(str(server.make_url("/"))) as session:
        archive = CoinbaseArchive(session, Metrics("coinbase"), bury, pauses=lambda: Backoff(0.001, 0.001))
        yield archive, asked, buried


def page(*ids: int) -> web.Response:
    return web.Response(text="[" + ",".join(TRADE % trade_id for trade_id in ids) + "]")


def ids(trades) -> list[int]:
    return [trade.trade_id for trade in trades]


async def test_trades_below_an_id_come_after_it():
    async with exchange(page(9, 8)) as (archive, asked, _):
        assert ids(await archive.trades("BTC-USD", below=10, limit=2)) == [9, 8]

    assert asked == ["/products/BTC-USD/trades?limit=2&after=10"]


async def test_the_newest_trades_are_asked_for_without_a_cursor():
    async with exchange(page(9)) as (archive, asked, _):
        await archive.trades("BTC-USD", below=None, limit=1)

    assert asked == ["/products/BTC-USD/trades?limit=1"]


@pytest.mark.parametrize(
    "trouble",
    [
        web.Response(status=429),
        web.Response(status=429, headers={"Retry-After": "0.01"}),
        web.Response(status=500),
        web.Response(status=503, text="<html>"),
        web.Response(status=403),
        web.Response(text="[{"),
        web.Response(text='{"message":"slow down"}'),
        web.Response(text='[{"trade_id":"no number"}]'),
        page(99, 98),
    ],
    ids=["429", "429 with Retry-After", "500", "503", "403", "half a page", "no list", "no trade", "other trades"],
)
async def test_an_exchange_in_trouble_is_asked_again(trouble):
    async with exchange(trouble, page(9)) as (archive, asked, _):
        assert ids(await archive.trades("BTC-USD", below=10, limit=1000)) == [9]

    assert len(asked) == 2


async def test_a_page_that_is_not_newest_first_is_put_in_order():
    async with exchange(page(7, 9, 8)) as (archive, _, _):
        assert ids(await archive.trades("BTC-USD", below=10, limit=3)) == [9, 8, 7]


async def test_an_element_that_is_no_trade_is_buried():
    answer = web.Response(text="[" + TRADE % 9 + ',{"trade_id":8}]')
    async with exchange(answer) as (archive, _, buried):
        assert ids(await archive.trades("BTC-USD", below=10, limit=2)) == [9]

    assert buried == [b'{"trade_id":8}']


async def test_a_product_that_the_exchange_does_not_know_is_not_asked_for_again():
    async with exchange(web.Response(status=404, text='{"message":"NotFound"}')) as (archive, asked, _):
        with pytest.raises(UnknownProductError, match="XXX-USD"):
            await archive.trades("XXX-USD", below=None, limit=1)

    assert len(asked) == 1

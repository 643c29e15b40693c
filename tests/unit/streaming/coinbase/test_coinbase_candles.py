import argparse
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from streaming.backoff import Backoff
from streaming.coinbase.candles import TRIES, Candle, candles_of, hour_of, parse_candles
from streaming.coinbase.parse import UnreadableError
from streaming.failures import RefusalError
from streaming.ratelimit import TokenBucket

pytestmark = pytest.mark.unit

NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)
START = int(NINE.timestamp())


@asynccontextmanager
async def exchange(*answers: web.Response):
    """Ask an exchange that gives these answers one after another; with what it was asked."""
    asked, left = [], list(answers)

    async def candles(request: web.Request) -> web.Response:
        asked.append(request.query)
        return left.pop(0)

    app = web.Application()
    app.router.add_get("/products/BTC-USD/candles", candles)
    async with TestServer(app) as server, ClientSession(str(server.make_url("/"))) as session:

        async def ask() -> list[Candle]:
            limit = TokenBucket(1000, burst=10)
            return await candles_of(session, "BTC-USD", NINE, limit, pauses=lambda: Backoff(0.001, 0.001))

        yield ask, asked


def page(*starts: int) -> web.Response:
    return web.Response(text="[" + ",".join(f"[{start}, 1, 2.50, 1.5, 2, 0.1]" for start in starts) + "]")


async def test_an_hour_is_asked_for_from_its_first_minute_to_its_last():
    async with exchange(page()) as (ask, asked):
        assert await ask() == []

    assert [dict(query) for query in asked] == [
        {"granularity": "60", "start": "2026-11-20T09:00:00+00:00", "end": "2026-11-20T09:59:00+00:00"}
    ]


async def test_candles_are_of_the_hour_and_oldest_first():
    async with exchange(page(START + 3600, START + 3540, START, START - 60)) as (ask, _):
        assert [candle.time for candle in await ask()] == [START, START + 3540]


@pytest.mark.parametrize(
    "trouble",
    [
        web.Response(status=500),
        web.Response(status=429, headers={"Retry-After": "0"}),
        web.Response(text='{"message": "NotFound"}'),
        web.Response(text="["),
    ],
    ids=["500", "429", "no list", "cut off"],
)
async def test_it_is_asked_again_until_it_answers(trouble: web.Response):
    async with exchange(trouble, page(START)) as (ask, asked):
        assert len(await ask()) == 1

    assert len(asked) == 2


async def test_an_exchange_that_never_answers_is_no_hour_without_candles():
    async with exchange(*(web.Response(status=404) for _ in range(TRIES))) as (ask, _):
        with pytest.raises(RefusalError, match="does not give the candles of BTC-USD: 404"):
            await ask()


def test_numbers_keep_their_digits_and_a_sum_of_floats_is_rounded_to_the_places_that_sizes_have():
    (candle,) = parse_candles(b"[[1763773200, 86000.10, 86000.2, 86000.15, 86000.20, 4.3899999999999997]]")

    assert (candle.low, candle.high, candle.volume) == (Decimal("86000.10"), Decimal("86000.2"), Decimal("4.39"))


@pytest.mark.parametrize("value", ['"NaN"', '"Infinity"', "null", '"much"', "true", "[1]"])
def test_what_is_no_number_is_no_candle(value: str):
    with pytest.raises(UnreadableError, match="page of candles"):
        parse_candles(f"[[1763773200, 1, 2, 1, {value}, 1]]".encode())


def test_an_hour_is_read_and_anything_else_refused():
    assert hour_of("2026-11-20T09") == NINE
    with pytest.raises(argparse.ArgumentTypeError, match="is not like 2026-11-20T09"):
        hour_of("2026-11-20")

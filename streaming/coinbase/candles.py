"""The exchange's own candles of an hour: `python -m streaming.coinbase.candles 2026-11-20T09 BTC-USD ETH-USD`.

They are held against ours and go nowhere else. The log has one line a product, with its candles of a minute each.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from http import HTTPStatus

import aiohttp
import msgspec

from include.settings import Settings
from streaming.backoff import Backoff, retry_after
from streaming.coinbase.parse import UnreadableError
from streaming.failures import RefusalError
from streaming.ratelimit import TokenBucket
from streaming.service import run
from streaming.session import open_session

log = logging.getLogger("streaming.coinbase.candles")

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FETCHED = "candles"
"""The message of the log line that has a product's candles."""
REQUESTS_PER_SECOND = 1.0
"""What the producer leaves of the exchange's limit for an address."""
TRIES = 8
"""How often an hour is asked for before somebody should know; some two minutes."""
PLACES = Decimal("0.00000001")
"""The exchange's sums come from binary floats, `4.3899999999999997`; no size has more than eight places."""


class Candle(msgspec.Struct, array_like=True, frozen=True):
    """One row of `GET /products/{id}/candles`: its start in seconds from 1970 UTC, prices, volume of base currency."""

    time: int
    low: Decimal
    high: Decimal
    open: Decimal
    close: Decimal
    volume: Decimal


_candles = msgspec.json.Decoder(list[Candle])


def parse_candles(body: bytes) -> list[Candle]:
    """Read a page of candles, with volumes in eight places.

    Raises:
        UnreadableError: If it is no list of candles, or has what is no number.
    """
    try:
        candles = _candles.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableError(f"page of candles: {error}") from error
    for candle in candles:
        numbers = (candle.low, candle.high, candle.open, candle.close, candle.volume)
        if not all(number.is_finite() for number in numbers):
            raise UnreadableError(f"page of candles: {candle} is not made of numbers")
    return [msgspec.structs.replace(candle, volume=candle.volume.quantize(PLACES)) for candle in candles]


async def candles_of(
    session: aiohttp.ClientSession,
    product_id: str,
    hour: datetime,
    limit: TokenBucket,
    pauses: Callable[[], Backoff] = lambda: Backoff(1.0, 60.0),
) -> list[Candle]:
    """Return a product's one-minute candles of an hour, oldest first; none of minutes without trades.

    Raises:
        RefusalError: If the exchange does not give them, however often it is asked.
    """
    waits, reason = pauses(), ""
    for _ in range(TRIES):
        await limit.take()
        try:
            return await _ask(session, product_id, hour)
        except (aiohttp.ClientError, TimeoutError, UnreadableError) as error:
            pause, reason = waits.next(), str(error) or type(error).__name__
            if isinstance(error, aiohttp.ClientResponseError) and error.status == HTTPStatus.TOO_MANY_REQUESTS:
                wished = error.headers.get("Retry-After") if error.headers else None
                pause = max(pause, retry_after(wished, time.time()))
                limit.hold(pause)
            log.warning(
                "candles are not to be had yet",
                extra={"product_id": product_id, "reason": reason, "retry_in": pause},
            )
            await asyncio.sleep(pause)
    raise RefusalError(f"the exchange does not give the candles of {product_id}: {reason}")


async def fetch(settings: Settings, hour: datetime, products: Iterable[str]) -> None:
    """Fetch each product's candles, one after the other, and tell them in the log."""
    limit = TokenBucket(REQUESTS_PER_SECOND, burst=1)
    async with open_session(settings.coinbase_rest, is_remote=settings.exchange == "live") as session:
        for product_id in products:
            found = await candles_of(session, product_id, hour, limit)
            told = [{**msgspec.structs.asdict(one), "time": datetime.fromtimestamp(one.time, UTC)} for one in found]
            log.info(FETCHED, extra={"product_id": product_id, "candles": told})


async def _ask(session: aiohttp.ClientSession, product_id: str, hour: datetime) -> list[Candle]:
    last = hour + HOUR - MINUTE
    query = {"granularity": str(int(MINUTE.total_seconds())), "start": hour.isoformat(), "end": last.isoformat()}
    async with session.get(f"products/{product_id}/candles", params=query) as response:
        response.raise_for_status()
        body = await response.read()
    first, end = int(hour.timestamp()), int((hour + HOUR).timestamp())
    return sorted((one for one in parse_candles(body) if first <= one.time < end), key=lambda one: one.time)


def hour_of(text: str) -> datetime:
    """Read `2026-11-20T09`.

    Raises:
        argparse.ArgumentTypeError: If it is no hour.
    """
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 2026-11-20T09") from None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="candles", description="Fetch the exchange's own candles of an hour.")
    parser.add_argument("hour", type=hour_of, help="the hour, UTC, like 2026-11-20T09")
    parser.add_argument("products", nargs="+", help="products, like BTC-USD")
    given = parser.parse_args(sys.argv[1:])
    run(partial(fetch, hour=given.hour, products=given.products))

"""The producer of Bybit: `python -m streaming.bybit`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from include.contracts import topics
from include.contracts.venues import BYBIT
from include.settings import Settings
from streaming.bridge import Bridger
from streaming.bybit.feed import Feed
from streaming.bybit.messages import KNOWN_FIELDS
from streaming.bybit.parse import TICK
from streaming.bybit.rest import BybitRecentTrades, bury, request_limit
from streaming.drift import Drift
from streaming.failures import RefusalError
from streaming.product import ProductKey
from streaming.progress import ProgressRecord
from streaming.publish import publish_drift, publish_drift_once, publish_once, publish_progress
from streaming.records import Origin
from streaming.resume import read_progress, read_told_fields
from streaming.service import DRAIN_SECONDS, run, service
from streaming.session import open_session
from streaming.uncounted import UncountedProduct

TOPICS = (topics.BYBIT_TRADES, topics.BYBIT_TICKERS, topics.BYBIT_DEAD_LETTERS, topics.PROGRESS, topics.EVENTS)

Markets = dict[str, dict[str, tuple[UncountedProduct, asyncio.Event]]]
"""Products by market and symbol, each with the event that says that it has a break."""


async def produce(settings: Settings) -> None:
    """Follow the exchange's markets until told to stop, bridge what breaks, and say how far each product is closed.

    Raises:
        RefusalError: If it cannot begin, or a market accepts none of its symbols.
    """
    if not settings.bybit_symbols:
        raise RefusalError("there is no symbol to follow: set LAKE_BYBIT_LINEAR or LAKE_BYBIT_SPOT")
    is_remote = settings.exchange == "live"
    async with (
        service(settings, BYBIT.name, TOPICS, "bybit_metrics") as running,
        open_session(settings.bybit_rest, is_remote=is_remote) as session,
    ):
        delivery, metrics, hour_closed = running.delivery, running.metrics, asyncio.Event()
        keys = frozenset(str(key) for key in _keys(settings))
        stored = await asyncio.to_thread(read_progress, settings.kafka.address, keys)
        drift = Drift(KNOWN_FIELDS, await asyncio.to_thread(read_told_fields, settings.kafka.address, BYBIT.name))
        markets = _products(settings, stored, hour_closed.set)
        products = [product for symbols in markets.values() for product, _ in symbols.values()]
        metrics.watch(products)
        metrics.watch_drift(drift)
        feeds, bridgers, limit = [], [], request_limit()
        for market, symbols in markets.items():
            origin, followed = Origin(BYBIT.name, market), {name: product for name, (product, _) in symbols.items()}
            recent = BybitRecentTrades(session, market, metrics, limit, bury(running, origin, drift))
            feeds.append(Feed(
                settings.bybit_ws[market], followed, origin, delivery, metrics, running.stop,
                is_remote=is_remote, drift=drift,
            ))  # fmt: skip
            bridgers += [
                Bridger(product, recent, delivery, metrics, origin, topics.BYBIT_TRADES, break_came)
                for product, break_came in symbols.values()
            ]
        running.stop_on_signals()
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(publish_progress(products, delivery, hour_closed))]
            beside += [tasks.create_task(publish_drift(drift, BYBIT.name, delivery))]
            beside += [tasks.create_task(bridger.run()) for bridger in bridgers]
            async with asyncio.TaskGroup() as following:
                for feed in feeds:
                    following.create_task(feed.follow())
            for task in beside:
                task.cancel()
        await publish_drift_once(drift, BYBIT.name, delivery)
        await delivery.drain(DRAIN_SECONDS)
        await publish_once(products, delivery)


def _keys(settings: Settings) -> list[ProductKey]:
    return [
        ProductKey(BYBIT.name, market, symbol)
        for market, symbols in settings.bybit_symbols.items()
        for symbol in symbols
    ]


def _products(settings: Settings, stored: Mapping[str, ProgressRecord], hour_closed: Callable[[], None]) -> Markets:
    """Return the products, each going on where its progress ends."""
    markets: Markets = {}
    for key in _keys(settings):
        break_came = asyncio.Event()
        product = UncountedProduct(key, TICK, stored.get(str(key)), break_came=break_came.set, hour_closed=hour_closed)
        markets.setdefault(key.market, {})[key.product_id] = (product, break_came)
    return markets


if __name__ == "__main__":
    run(produce)

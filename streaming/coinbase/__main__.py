"""The producer of Coinbase Exchange: `python -m streaming.coinbase`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from include.contracts import topics
from include.settings import Settings
from streaming.coinbase.feed import Feed
from streaming.coinbase.messages import KNOWN_FIELDS
from streaming.coinbase.rest import ORIGIN, CoinbaseArchive, bury
from streaming.drift import Drift
from streaming.failures import RefusalError
from streaming.history import HistoryCursor
from streaming.product import Product, ProductKey
from streaming.progress import ProgressRecord, hour_of
from streaming.publish import publish_drift, publish_drift_once, publish_once, publish_progress
from streaming.repair import Repairer
from streaming.resume import read_cursors, read_progress, read_told_fields
from streaming.service import DRAIN_SECONDS, run, service
from streaming.session import open_session

TOPICS = (
    topics.COINBASE_TRADES,
    topics.COINBASE_TICKERS,
    topics.COINBASE_STATUS,
    topics.COINBASE_DEAD_LETTERS,
    topics.PROGRESS,
    topics.EVENTS,
    topics.HISTORY,
)


async def produce(settings: Settings) -> None:
    """Follow the exchange until told to stop: the feed, its history and its gaps, and how far each product is closed.

    Raises:
        RefusalError: If it cannot begin, or the exchange accepts none of the products.
    """
    if not settings.products:
        raise RefusalError("there is no product to follow: set LAKE_PRODUCTS, for example to BTC-USD,ETH-USD")
    is_remote = settings.exchange == "live"
    async with (
        service(settings, ORIGIN.venue, TOPICS, "producer_metrics") as running,
        open_session(settings.coinbase_rest, is_remote=is_remote) as session,
    ):
        delivery, metrics, hour_closed = running.delivery, running.metrics, asyncio.Event()
        keys = frozenset(str(_key(name)) for name in settings.products)
        stored = await asyncio.to_thread(read_progress, settings.kafka.address, keys)
        told = await asyncio.to_thread(read_told_fields, settings.kafka.address, ORIGIN.venue)
        drift = Drift(KNOWN_FIELDS, told)
        cursors = await asyncio.to_thread(read_cursors, settings.kafka.address, keys)
        owed = _products(settings, stored, cursors, hour_closed.set)
        products = {name: product for name, (product, _) in owed.items()}
        metrics.watch(products.values())
        metrics.watch_drift(drift)
        archive = CoinbaseArchive(session, metrics, bury(running, drift))
        repairers = [
            Repairer(product, archive, delivery, metrics, ORIGIN, topics.COINBASE_TRADES, work_came)
            for product, work_came in owed.values()
        ]
        feed = Feed(
            settings.coinbase_ws, products, ORIGIN, delivery, metrics, running.stop, is_remote=is_remote, drift=drift
        )
        running.stop_on_signals()
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(publish_progress(products.values(), delivery, hour_closed))]
            beside += [tasks.create_task(publish_drift(drift, ORIGIN.venue, delivery))]
            beside += [tasks.create_task(repairer.run()) for repairer in repairers]
            await feed.follow()
            for task in beside:
                task.cancel()
        await publish_drift_once(drift, ORIGIN.venue, delivery)
        await delivery.drain(DRAIN_SECONDS)
        await publish_once(products.values(), delivery)


def _products(
    settings: Settings,
    stored: Mapping[str, ProgressRecord],
    cursors: Mapping[str, HistoryCursor],
    hour_closed: Callable[[], None],
) -> dict[str, tuple[Product, asyncio.Event]]:
    """Return each product, going on where its progress ends, with the event that says that it is owed something."""
    start = settings.first_hour or hour_of(datetime.now(UTC)) - timedelta(hours=settings.history_hours)
    products = {}
    for name in settings.products:
        key, work_came = _key(name), asyncio.Event()
        product = Product(
            key, start, stored.get(str(key)), cursors.get(str(key)), work_came=work_came.set, hour_closed=hour_closed
        )
        products[name] = (product, work_came)
    return products


def _key(product_id: str) -> ProductKey:
    return ProductKey(ORIGIN.venue, ORIGIN.market, product_id)


if __name__ == "__main__":
    run(produce)

"""Progress to Kafka: every few seconds, and at once when an hour is closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from include.contracts.topics import PROGRESS, Header
from streaming.delivery import Delivery
from streaming.product import Followed
from streaming.progress import ProgressRecord
from streaming.records import Record

EVERY_SECONDS = 5.0


async def publish_progress(products: Collection[Followed], delivery: Delivery, hour_closed: asyncio.Event) -> None:
    """Publish what moved, until cancelled."""
    while True:
        await publish_once(products, delivery)
        try:
            async with asyncio.timeout(EVERY_SECONDS):
                await hour_closed.wait()
        except TimeoutError:
            continue
        finally:
            hour_closed.clear()


async def publish_once(products: Collection[Followed], delivery: Delivery) -> None:
    """Publish the progress of every product that moved since the broker acknowledged it last."""
    for product in products:
        if record := product.news():
            await delivery.send(_record(product, record))


def _record(product: Followed, progress: ProgressRecord) -> Record:
    received_at = str(time.time_ns() // 1_000).encode()
    return Record(
        PROGRESS.name,
        str(product.key),
        progress.encode(),
        [(Header.RECEIVED_AT.value, received_at), (Header.VENUE.value, progress.venue.encode())],
        acknowledged=lambda: product.published(progress),
        is_superseded_if_lost=True,
    )

"""What a producer knows, to Kafka: progress every few seconds and at once when an hour is closed, and drift."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial

from include.contracts.topics import PROGRESS, Header
from streaming.delivery import Delivery
from streaming.drift import Drift
from streaming.events import DriftEvent
from streaming.product import Followed
from streaming.progress import ProgressRecord
from streaming.records import Record

log = logging.getLogger(__name__)

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
        if progress := product.news():
            await delivery.send(record_of(str(product.key), progress, partial(product.published, progress)))


async def publish_drift(drift: Drift, venue: str, delivery: Delivery) -> None:
    """Tell how the venue's messages differ from those that we know, until cancelled."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        await publish_drift_once(drift, venue, delivery)


async def publish_drift_once(drift: Drift, venue: str, delivery: Delivery) -> None:
    """Tell what has not been told yet: each new field once, each changed one again while frames come with it."""
    for difference, market, frames in [*drift.news(time.monotonic())]:
        facts = difference._asdict() | {"count": frames}
        log.warning("the venue's messages differ", extra={"venue": venue, "market": market, **facts})
        event = DriftEvent(venue=venue, market=market, reason=difference.reason, **facts)
        await delivery.send(event.record(datetime.now(UTC)))


def record_of(key: str, progress: ProgressRecord, acknowledged: Callable[[], None]) -> Record:
    """Return the record that tells progress; a newer one of its key outdates it."""
    received_at = str(time.time_ns() // 1_000).encode()
    return Record(
        PROGRESS.name,
        key,
        progress.encode(),
        [(Header.RECEIVED_AT.value, received_at), (Header.VENUE.value, progress.venue.encode())],
        acknowledged=acknowledged,
        is_superseded_if_lost=True,
    )

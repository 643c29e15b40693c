"""Breaks in products whose ids are not counted, bridged with the newest trades of the venue's REST API."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from datetime import UTC, datetime
from typing import Protocol

from include.contracts.topics import Topic
from streaming.backoff import Backoff
from streaming.delivery import Delivery, Receipts
from streaming.events import Event, Kind
from streaming.metrics import Metrics
from streaming.progress import iso
from streaming.records import Origin, Record
from streaming.uncounted import Break, Finding, Recent, UncountedProduct

log = logging.getLogger(__name__)

OUTCOMES: tuple[Kind, ...] = ("bridged", "unprovable")
"""The events of a break's end."""
PATIENCE_SECONDS = 20.0
"""How long the venue may take to give trades that go as far as the feed did; until then the product is not closed."""

NOT_SHOWN = Finding((), f"the venue's newest trades did not go as far as the feed within {PATIENCE_SECONDS:.0f} s")


class RecentTrades(Protocol):
    """A venue's newest trades."""

    async def trades(self, product_id: str) -> Recent | None:
        """Return them; None if the venue does not give them now. Waits for its turn within the venue's limits."""


class Bridger:
    """Looks into the breaks of one product, one after the other.

    Args:
        product: Whose breaks they are.
        recent: The venue's newest trades.
        delivery: Where missed trades go, and word of how a break ended.
        metrics: Where it is counted.
        origin: What the records say of where they come from.
        topic: Where the venue's trades go.
        break_came: Set by the product when there is a break.
    """

    def __init__(
        self,
        product: UncountedProduct,
        recent: RecentTrades,
        delivery: Delivery,
        metrics: Metrics,
        origin: Origin,
        topic: Topic,
        break_came: asyncio.Event,
    ) -> None:
        self._product = product
        self._recent = recent
        self._delivery = delivery
        self._metrics = metrics
        self._origin = origin
        self._topic = topic
        self._break_came = break_came
        for outcome in OUTCOMES:
            metrics.of(metrics.breaks, outcome)

    async def run(self) -> None:
        """Wait for breaks and look into them, until cancelled."""
        while True:
            await self._break_came.wait()
            self._break_came.clear()
            while (first := self._product.next_break()) is not None:
                recent = await self._ask_until_shown(first)
                while (broken := self._product.next_break()) is not None:
                    finding = NOT_SHOWN if recent is None else broken.find(recent)
                    if finding is None:
                        break
                    await self._end(broken, finding)

    async def _ask_until_shown(self, broken: Break) -> Recent | None:
        """Return newest trades that show something of a break; None if the venue does not give any in time."""
        pauses = Backoff(0.5, 4.0)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    recent = await self._recent.trades(self._product.key.product_id)
                    if recent is not None and broken.find(recent) is not None:
                        return recent
                    await asyncio.sleep(pauses.next())
        except TimeoutError:
            return None

    async def _end(self, broken: Break, finding: Finding) -> None:
        """Send what was missed, and tell how the break ended; all of it is acknowledged before progress passes it."""
        receipts, product_id = Receipts(), self._product.key.product_id
        received_at = time.time_ns() // 1_000
        for trade in finding.missed:
            headers = self._origin.headers("rest", received_at, b"%d" % trade.place)
            await self._delivery.send(Record(self._topic.name, product_id, trade.raw, headers, receipts.expect()))
        event = self._event(broken, finding)
        self._metrics.of(self._metrics.breaks, event.kind).inc()
        log.warning(event.kind, extra={"product": str(self._product.key), "reason": event.reason})
        record = event.record(datetime.now(UTC))
        record.acknowledged = receipts.expect()
        await self._delivery.send(record)
        await receipts.all()
        self._product.ended(is_bridged=finding.flaw is None)

    def _event(self, broken: Break, finding: Finding) -> Event:
        key, since, until = self._product.key, iso(broken.since), iso(broken.until)
        about = functools.partial(Event, venue=key.venue, market=key.market, product_id=key.product_id)
        if finding.flaw is None:
            reason = (
                f"{broken.reason}; all trades from {since} to {until} are here, {len(finding.missed)} of them fetched"
            )
            return about(kind="bridged", reason=reason)
        reason = f"{broken.reason}; {finding.flaw}"
        return about(kind="unprovable", reason=reason, unprovable_from=since, unprovable_until=until)

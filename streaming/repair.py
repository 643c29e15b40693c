"""History and gaps, fetched from a venue's REST API into the same topic as its feed."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from include.contracts.topics import Topic
from streaming.backoff import Backoff
from streaming.delivery import Delivery, Receipts
from streaming.events import Event, Kind, State
from streaming.gaps import Gap
from streaming.history import MOST_HOLES, HistoryCursor
from streaming.metrics import Metrics
from streaming.product import OwedGap, OwedHistory, Product
from streaming.records import Origin, Record

log = logging.getLogger(__name__)

GRACE_SECONDS = 0.1
"""How long a gap may fill itself before REST is asked: two trades may come the wrong way round."""
LOOKS = 2
"""How often the venue must answer that it has later trades and not these: its servers are not one machine."""
PATIENCE_SECONDS = 120.0
"""How long the venue's history may lag behind what its feed spoke of, before we stop waiting for it."""
LOG_SECONDS = 5.0


class HistoricTrade(NamedTuple):
    """One trade of a page."""

    trade_id: int
    time: datetime
    raw: bytes
    """The JSON of this trade alone, as received."""


class UnknownProductError(RuntimeError):
    """The venue's history does not know the product."""


class Archive(Protocol):
    """A venue's history of trades."""

    page_size: int

    async def trades(self, product_id: str, *, below: int | None, limit: int) -> list[HistoricTrade]:
        """Return the newest trades whose ids are below one, newest first; empty if there are none.

        Waits as long as the venue is busy or down.

        Raises:
            UnknownProductError: If the venue says that there is no such product.
        """


class Repairer:
    """Fetches what one product is owed, one thing after another.

    Args:
        product: What is owed, and to whom it is settled.
        archive: The venue's history.
        delivery: Where the trades go, and word of how a gap stands.
        metrics: Where it is counted.
        origin: What the records say of where they come from.
        topic: Where the venue's trades go.
        work_came: Set by the product when there is work.
        covered_from: The exchange time from which all is there already, where history from before that is fetched.
    """

    def __init__(
        self,
        product: Product,
        archive: Archive,
        delivery: Delivery,
        metrics: Metrics,
        origin: Origin,
        topic: Topic,
        work_came: asyncio.Event,
        covered_from: datetime | None = None,
    ) -> None:
        self._product = product
        self._archive = archive
        self._delivery = delivery
        self._metrics = metrics
        self._origin = origin
        self._topic = topic
        self._work_came = work_came
        self._covered_from = covered_from
        self._reaches = 0
        """The highest id that the history has shown."""

    async def run(self) -> None:
        """Wait for work and do it, until cancelled."""
        while True:
            await self._work_came.wait()
            await asyncio.sleep(GRACE_SECONDS)
            self._work_came.clear()
            await self.catch_up()

    async def catch_up(self) -> None:
        """Do the work that there is; in the end all that was fetched is acknowledged."""
        while (owed := self._product.next_work()) is not None:
            if isinstance(owed, OwedHistory):
                await self._fetch(owed)
            else:
                await self._mend(owed)

    async def _fetch(self, owed: OwedHistory) -> None:
        """Fetch the history from its newest trade back to its start; its holes become gaps.

        How far it is acknowledged is told a page behind: while a page is on its way, the one before arrives in Kafka.
        """
        product, receipts = self._product, Receipts()
        log.info("history begins", extra={"product": str(product.key), "since": owed.since, "below": owed.before_id})
        below, looks, watch = owed.before_id, 0, _HistoryWatch(product, owed, self._metrics, self._covered_from)
        pages = _Pages(product, owed, self._delivery)
        try:
            while page := await self._page(below, limit=self._archive.page_size):
                if below is None:
                    product.newest_of_history(page[0].trade_id)
                receipts = Receipts()
                for trade in page:
                    if below is not None and trade.trade_id < below - 1:
                        missing = range(trade.trade_id + 1, below)
                        product.owe_hole(missing, owed, looks)
                        pages.note_hole(missing)
                    below, looks = trade.trade_id, 1
                    if trade.time < owed.since:
                        break
                    await self._send(trade, receipts)
                watch.take(page)
                if page[-1].time < owed.since:
                    break
                await pages.sent(page, receipts)
            else:
                await self._tell("history", None, None, f"the venue's history begins after {owed.since}")
        except UnknownProductError as error:
            await self._tell("history", "unavailable", None, str(error))
        await pages.arrived()
        await receipts.all()
        product.ended(owed)
        watch.end()

    async def _mend(self, owed: OwedGap) -> None:
        if owed.gap.missing:
            await self.mend(owed.gap, owed.looks)
        self._product.ended(owed)

    async def mend(self, gap: Gap, looks: int = 0) -> None:
        """Fetch a gap's trades until all came, or the venue has shown that it does not have them; tell how it ended.

        Args:
            looks: How often the venue's history has gone past the gap already.
        """
        found_at, receipts = time.monotonic(), Receipts()
        await self._open(gap)
        reason = await self._ask_until_settled(gap, looks, receipts)
        await receipts.all()
        await self._end(gap, reason)
        self._metrics.repair_seconds.observe(time.monotonic() - found_at)

    async def _ask_until_settled(self, gap: Gap, looks: int, receipts: Receipts) -> str:
        """Ask REST again and again; return why what is still missing is given up, or how all came."""
        pauses, patient_until = Backoff(0.5, 5.0), math.inf
        while gap.missing:
            try:
                looks += await self._walk(gap, receipts)
            except UnknownProductError as error:
                return str(error)
            # From the first answer on: while REST itself is down, nothing is known of what it has.
            patient_until = min(patient_until, time.monotonic() + PATIENCE_SECONDS)
            if gap.missing and looks >= LOOKS:
                return "the venue's history goes on beyond them, without them"
            if gap.missing and time.monotonic() > patient_until:
                return f"the venue's history did not reach them in {PATIENCE_SECONDS:.0f} s"
            if gap.missing:
                await asyncio.sleep(pauses.next())
        return "fetched from the venue's history"

    async def _walk(self, gap: Gap, receipts: Receipts) -> bool:
        """Send what the history has of a gap; return whether it goes on beyond it."""
        first, last = gap.missing[0].start, gap.missing[-1].stop - 1
        below = last + 1
        while page := await self._page(below, limit=min(self._archive.page_size, below - first + 1)):
            for trade in page:
                if gap.fill(trade.trade_id):
                    await self._send(trade, receipts)
            below = page[-1].trade_id
            if below < first:
                break
        if gap.missing and self._reaches <= last:
            await self._page(below=None, limit=1)
        return self._reaches > last

    async def _page(self, below: int | None, limit: int) -> list[HistoricTrade]:
        page = await self._archive.trades(self._product.key.product_id, below=below, limit=limit)
        if page:
            self._reaches = max(self._reaches, page[0].trade_id)
        return page

    async def _open(self, gap: Gap) -> None:
        product_id = self._product.key.product_id
        self._metrics.of(self._metrics.gaps_found, product_id).inc()
        # All its ids, as at its end, though some may have come by now: what is missing less what ended is then nothing.
        self._metrics.of(self._metrics.ids_missing, product_id).inc(gap.last - gap.first + 1)
        for ids in tuple(gap.missing):
            await self._tell("gap", "open", ids, gap.reason)

    async def _end(self, gap: Gap, reason: str) -> None:
        metrics, product_id = self._metrics, self._product.key.product_id
        metrics.of(metrics.gaps_unavailable if gap.missing else metrics.gaps_repaired, product_id).inc()
        for ids, is_filled in tuple(gap.outcome()):
            metrics.of(metrics.ids_repaired if is_filled else metrics.ids_unavailable, product_id).inc(len(ids))
            state: State = "repaired" if is_filled else "unavailable"
            await self._tell("gap", state, ids, "came after all" if is_filled else reason)

    async def _send(self, trade: HistoricTrade, receipts: Receipts) -> None:
        headers = self._origin.headers("rest", time.time_ns() // 1_000)
        product_id = self._product.key.product_id
        await self._delivery.send(Record(self._topic.name, product_id, trade.raw, headers, receipts.expect()))

    async def _tell(self, kind: Kind, state: State | None, ids: range | None, reason: str) -> None:
        key = self._product.key
        event = Event(
            kind=kind,
            venue=key.venue,
            market=key.market,
            product_id=key.product_id,
            reason=reason,
            first_missing_id=ids.start if ids else None,
            last_missing_id=ids.stop - 1 if ids else None,
            state=state,
        )
        missing = f"{ids.start}-{ids.stop - 1}" if ids else None
        log.info(kind, extra={"product": str(key), "state": state, "ids": missing, "reason": reason})
        await self._delivery.send(event.record(datetime.now(UTC)))


class _Pages:
    """Tells how far a history is acknowledged, so that another start can go on there."""

    def __init__(self, product: Product, owed: OwedHistory, delivery: Delivery) -> None:
        self._product = product
        self._before_id = owed.before_id
        self._since = owed.since
        self._delivery = delivery
        self._last = owed.cursor
        self._holes = list(owed.cursor.holes) if owed.cursor else []
        self._ahead: tuple[HistoryCursor, Receipts] | None = None

    def note_hole(self, missing: range) -> None:
        """Take note of ids that the history left out."""
        self._holes.append((missing.start, missing.stop - 1))

    async def sent(self, page: list[HistoricTrade], receipts: Receipts) -> None:
        """Take note of a page on its way; wait until the one before has arrived, and tell that."""
        key, last = self._product.key, self._last
        top = last.top if last else self._before_id or page[0].trade_id + 1
        newest = last.newest if last else page[0].time
        cursor = HistoryCursor(
            key.venue, key.market, key.product_id, top, page[-1].trade_id, newest, tuple(self._holes), self._since
        )
        await self.arrived()
        self._ahead, self._last = (cursor, receipts), cursor

    async def arrived(self) -> None:
        """Wait until the last page has arrived, and tell it."""
        if self._ahead is None:
            return
        cursor, receipts = self._ahead
        await receipts.all()
        if len(cursor.holes) <= MOST_HOLES:
            await self._delivery.send(cursor.record(time.time_ns() // 1_000))
        self._ahead = None


class _HistoryWatch:
    """Shows how far the fetching of a history has come: in the log every few seconds, and as a metric."""

    def __init__(
        self, product: Product, owed: OwedHistory, metrics: Metrics, covered_from: datetime | None = None
    ) -> None:
        self._product = product
        self._since = owed.since
        self._share = metrics.history_share.labels(product.key.venue, product.key.product_id)
        self._newest = covered_from or (owed.cursor.newest if owed.cursor else None)
        self._goes_on_from: datetime | None = None
        self._trades = 0
        self._began_at = self._told_at = time.monotonic()

    def take(self, page: list[HistoricTrade]) -> None:
        """Take note of a page."""
        self._trades += len(page)
        self._newest = self._newest or page[0].time
        self._goes_on_from = self._goes_on_from or page[0].time
        reached = page[-1].time
        span = max(self._newest - self._since, timedelta.resolution)
        share = min(1.0, max(0.0, (self._newest - reached) / span))
        self._share.set(share)
        if time.monotonic() - self._told_at > LOG_SECONDS:
            self._told_at = time.monotonic()
            done, left = self._goes_on_from - reached, max(reached - self._since, timedelta(0))
            seconds_left = round((self._told_at - self._began_at) * (left / done)) if done else None
            self._tell("history goes on", reached=reached, percent=round(100 * share), seconds_left=seconds_left)

    def end(self) -> None:
        """Take note that all of it is acknowledged."""
        self._share.set(1.0)
        self._tell("history is acknowledged", since=self._since)

    def _tell(self, what: str, **facts: object) -> None:
        log.info(what, extra={"product": str(self._product.key), "trades": self._trades, **facts})

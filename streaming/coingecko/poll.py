"""The poll of CoinGecko's prices: each coin's change to its topic, as often as the budget allows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

from include.contracts import topics
from streaming.backoff import LONGEST_HOLD_SECONDS, Backoff
from streaming.coingecko import kept
from streaming.coingecko.budget import Limits, due, left
from streaming.coingecko.kept import Kept
from streaming.coingecko.parse import Coin, UnreadableCoin, UnreadableError, parse_markets
from streaming.coingecko.rest import ORIGIN, BusyError, Markets, RefusedError
from streaming.coingecko.written import Written
from streaming.delivery import Delivery
from streaming.events import Event
from streaming.metrics import Metrics
from streaming.records import Headers, Record

log = logging.getLogger(__name__)

TROUBLE = (BusyError, RefusedError, aiohttp.ClientError, TimeoutError)
"""Everything that a request may end in but a reply."""
BUSY_SECONDS = 60.0
"""How long a venue that was asked too often is left alone if it does not say: it counts by the minute."""
REFUSED_SECONDS = 300.0
"""How long a venue that refuses a request is left alone: somebody has to change a setting, or a key."""
LONGEST_HOLD = timedelta(seconds=LONGEST_HOLD_SECONDS)
LONGEST_SLEEP_SECONDS = 60.0
"""After so long the clock is looked at again: a machine that was asleep does not sleep on."""


class Poller:
    """Asks for the prices of our coins again and again.

    Args:
        coins: The coins, as the venue names them.
        limits: How often it may be asked.
        file: Where what must survive a restart is kept.
        delivery: Where the records go.
        metrics: Where replies are counted.
        stop: When set, nothing more is asked.
        clock: Tells the time, UTC.
        pauses: How long to wait after a failure, at least.

    Raises:
        RefusalError: If the file cannot be read.
    """

    def __init__(
        self,
        markets: Markets,
        coins: Sequence[str],
        limits: Limits,
        file: Path,
        delivery: Delivery,
        metrics: Metrics,
        stop: asyncio.Event,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pauses: Backoff | None = None,
    ) -> None:
        self._markets = markets
        self._coins = coins
        self._limits = limits
        self._file = file
        self._delivery = delivery
        self._metrics = metrics
        self._stop = stop
        self._clock = clock
        self._pauses = pauses or Backoff(15.0, 300.0)
        found = kept.load(file)
        self._spent = found.spent
        self._written = Written(found.written)
        self._held_until = found.held_until
        # No hold is longer: one that seems so was noted by a clock that has since been set back.
        self._not_before = min(found.held_until or clock(), clock() + LONGEST_HOLD)
        self._omitted: set[str] = set()
        self._is_refused = False

    async def run(self) -> None:
        """Poll until told to stop: wait for our turn, ask, hand over what is new, again."""
        self._metrics.connected.set(1)  # nothing speaks against it, and the first turn may be far off
        while await self._turn():
            try:
                body = await self._markets.ask()
            except TROUBLE as trouble:
                for record in self._on_trouble(trouble):
                    await self._delivery.send(record)
                continue
            self._on_reply()
            for record in self._news(body):
                await self._delivery.send(record)

    def keep(self) -> None:
        """Write down what must survive a restart."""
        kept.save(self._file, Kept(self._spent, self._written.acknowledged, self._held_until))

    async def _turn(self) -> bool:
        """Wait until a request is due, and count it before it is made; False if told to stop."""
        at = max(due(self._spent, self._limits, self._clock()), self._not_before)
        self._show(at)
        while not self._stop.is_set() and (wait := (at - self._clock()).total_seconds()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait, LONGEST_SLEEP_SECONDS)):
                    await self._stop.wait()
        if self._stop.is_set():
            return False
        self._spent = self._spent.one_more(self._clock())
        self.keep()
        return True

    def _on_reply(self) -> None:
        self._metrics.of(self._metrics.requests, "ok").inc()
        self._metrics.connected.set(1)
        self._pauses.reset()
        self._is_refused = False

    def _news(self, body: bytes | None) -> list[Record]:
        """Return what is to be written of a reply; of one that says nothing new, nothing."""
        read: list[Record] = []
        events: list[Record] = []
        received_at = int(self._clock().timestamp() * 1_000_000)
        if body is not None:
            try:
                elements = parse_markets(body)
            except UnreadableError as error:
                read = [self._dead_letter(body, str(error), self._headers(received_at))]
            else:
                read = [self._record(element, self._headers(received_at, i)) for i, element in enumerate(elements)]
                events = self._omissions(elements)
        new = [record for record in read if self._written.is_new(record)]
        self._metrics.frames["prices" if new else "unchanged"] += 1
        return new + events

    def _record(self, element: Coin | UnreadableCoin, headers: Headers) -> Record:
        if isinstance(element, UnreadableCoin):
            return self._dead_letter(element.raw, element.reason, headers)
        if element.id not in self._coins:
            return self._dead_letter(element.raw, f"{element.id} was not asked for", headers)
        return Record(topics.COINGECKO_PRICES.name, element.id, element.raw, headers)

    def _omissions(self, elements: Sequence[Coin | UnreadableCoin]) -> list[Record]:
        """Tell once of each coin that a reply leaves out, as the venue does with those that it does not know."""
        if any(isinstance(element, UnreadableCoin) for element in elements):
            return []  # it may be one of them
        there = self._omitted.union(element.id for element in elements if isinstance(element, Coin))
        omitted = [coin for coin in self._coins if coin not in there]
        for coin in omitted:
            self._metrics.refused_products.inc()
            log.error("the venue has no such coin: see LAKE_COINGECKO_COINS", extra={"coin": coin})
        self._omitted.update(omitted)
        return [self._event(f"the venue leaves out {coin}", coin) for coin in omitted]

    def _on_trouble(self, trouble: Exception) -> list[Record]:
        """Say what happened, and ask no earlier than the venue wants; of a refusal, return the event that tells it."""
        pause = self._pauses.next()
        match trouble:
            case BusyError(retry_after=seconds):
                pause = max(pause, seconds or BUSY_SECONDS)
            case RefusedError():
                pause = max(pause, REFUSED_SECONDS)
        reason = str(trouble) or type(trouble).__name__
        self._metrics.of(self._metrics.requests, type(trouble).__name__).inc()
        self._metrics.connected.set(0)
        self._not_before = self._clock() + timedelta(seconds=pause)
        if isinstance(trouble, BusyError):
            self._held_until = self._not_before
            self.keep()
        log.warning("no prices are to be had yet", extra={"reason": reason, "retry_in": round(pause, 3)})
        if not isinstance(trouble, RefusedError) or self._is_refused:
            return []
        self._is_refused = True
        return [self._event(reason)]

    def _show(self, at: datetime) -> None:
        now, venue = self._clock(), ORIGIN.venue
        self._metrics.next_request.labels(venue).set(at.timestamp())
        self._metrics.requests_left.labels(venue).set(left(self._spent, self._limits, now))

    def _headers(self, received_at: int, frame_index: int = 0) -> Headers:
        return ORIGIN.headers("rest", received_at, b"%d" % frame_index)

    def _dead_letter(self, raw: bytes, reason: str, headers: Headers) -> Record:
        self._metrics.dead_letters.inc()
        log.warning("reply cannot be read", extra={"reason": reason, "bytes": len(raw)})
        return ORIGIN.dead_letter(topics.COINGECKO_DEAD_LETTERS.name, raw, reason, headers)

    def _event(self, reason: str, coin: str | None = None) -> Record:
        event = Event(
            kind="subscription_refused", venue=ORIGIN.venue, market=ORIGIN.market, product_id=coin, reason=reason
        )
        return event.record(self._clock())

"""Fetch history from before what is there: `python -m streaming.coinbase.past 2026-11-20T03`.

It runs beside the producer and does not disturb it: it asks the exchange as often as the producer leaves room for, and
what both send, Silver holds once. It takes one product after the other, each from where it is covered back to the hour
that is given; killed at any moment, it goes on there where its pages had arrived. In the end every trade is
acknowledged, or named in `ingestion.events` as unavailable, and `ingestion.progress` vouches for the hours.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import msgspec

from include.contracts import topics
from include.contracts.topics import OF_PAST
from include.lease import Lease
from include.settings import Settings
from streaming.coinbase.rest import ORIGIN, CoinbaseArchive, bury
from streaming.delivery import Delivery, Receipts
from streaming.failures import RefusalError
from streaming.history import HistoryCursor
from streaming.metrics import Metrics
from streaming.product import Product, ProductKey
from streaming.progress import ProgressRecord, iso
from streaming.publish import record_of
from streaming.repair import Archive, HistoricTrade, Repairer, UnknownProductError
from streaming.resume import read_cursors, read_progress
from streaming.service import errand, run
from streaming.session import open_session

log = logging.getLogger("streaming.coinbase.past")

TOPICS = (
    topics.COINBASE_TRADES, topics.COINBASE_DEAD_LETTERS, topics.EVENTS, topics.HISTORY, topics.PROGRESS,
)  # fmt: skip
LEASE = "past-coinbase"
REQUESTS_PER_SECOND = 1.0
"""The exchange allows 10 per address, of which the producer may need 9 for a gap at any moment."""
BURST = 3
KEY_FORMAT = "%Y-%m-%dT%H"


@dataclass(frozen=True, slots=True)
class Covered:
    """What is there of a product.

    Args:
        since: The exchange time from which it is covered.
        past: What vouches for history that was fetched before; None if none was.
        cursor: How far an earlier attempt came below that; None if there was none, or it is of no use.
    """

    since: datetime
    past: ProgressRecord | None
    cursor: HistoryCursor | None


def covered(followed: ProgressRecord, past: ProgressRecord | None, cursor: HistoryCursor | None) -> Covered:
    """Say what is there by the word of the producer, of earlier fetches and of the cursor that either left."""
    if past is not None and past.closed_through < followed.covered_from:
        past = None  # between its end and the producer's start nobody vouches
    since = past.covered_from if past else followed.covered_from
    if cursor is None or cursor.newest < since:
        return Covered(since, past, None)
    if cursor.since is None or cursor.since >= since:
        cursor = msgspec.structs.replace(cursor, holes=())  # that history is settled, its holes with it
    return Covered(since, past, cursor)


class Past:
    """Fetches what lies before, for one product after the other.

    Args:
        archive: The venue's history.
        delivery: Where it goes.
        metrics: Where requests are counted.
    """

    def __init__(self, archive: Archive, delivery: Delivery, metrics: Metrics) -> None:
        self._archive = archive
        self._delivery = delivery
        self._metrics = metrics

    async def fetch(self, key: ProductKey, there: Covered, since: datetime) -> None:
        """Fetch a product's trades from a time on up to where it is covered; vouch for them when all have arrived."""
        if there.since <= since:
            log.info("history is there", extra={"product": str(key), "since": iso(there.since)})
            return
        try:
            newest = await self._archive.trades(key.product_id, below=None, limit=1)
        except UnknownProductError as error:
            log.warning("history is not to be had", extra={"product": str(key), "reason": str(error)})
            return
        cursor = there.cursor or await self._begin(key, there.since, newest)
        if cursor is not None:
            await self._go_on(key, cursor, there.since, since)
        if there.past is not None:
            through, last_id = there.past.closed_through, there.past.last_trade_id
        elif cursor is not None:
            through, last_id = cursor.newest, cursor.top - 1
        else:
            through, last_id = there.since, None
        receipts = Receipts()
        vouched = ProgressRecord(key.venue, key.market, key.product_id, since, through, last_id)
        await self._delivery.send(record_of(f"{key}{OF_PAST}", vouched, receipts.expect()))
        await receipts.all()
        log.info("history is vouched for", extra={"product": str(key), "since": iso(since), "through": iso(through)})

    async def _begin(
        self, key: ProductKey, covered_from: datetime, newest: list[HistoricTrade]
    ) -> HistoryCursor | None:
        """Return a cursor above all trades from before a time; None if there is no trade at all."""
        if not newest:
            return None
        [trade] = newest
        if trade.time >= covered_from:
            trade = await first_since(self._archive, key.product_id, covered_from, trade)
        above = trade.trade_id + 1
        return HistoryCursor(key.venue, key.market, key.product_id, above, above, max(trade.time, covered_from))

    async def _go_on(self, key: ProductKey, cursor: HistoryCursor, covered_from: datetime, since: datetime) -> None:
        """Fetch what lies below a cursor as a producer fetches its first history."""
        product = Product(key, since, cursor=cursor)
        topic, work_came = topics.COINBASE_TRADES, asyncio.Event()
        await Repairer(
            product, self._archive, self._delivery, self._metrics, ORIGIN, topic, work_came, covered_from
        ).catch_up()


async def first_since(archive: Archive, product_id: str, moment: datetime, newest: HistoricTrade) -> HistoricTrade:
    """Return a trade at or after a moment below which at most a page of ids are at or after it, too.

    Ids rise with time, so each question halves what is in doubt, after steps back that double: the moment is likely to
    be nearer to the newest of a billion trades than to the first.

    Args:
        newest: A trade at or after the moment.
    """
    before, trade, step = 0, newest, archive.page_size
    while trade.trade_id - before > archive.page_size:
        middle = max((before + trade.trade_id) // 2, trade.trade_id - step)
        step *= 2
        found = await archive.trades(product_id, below=middle + 1, limit=1)
        if found and found[0].time >= moment:
            [trade] = found
        else:
            before = middle
    return trade


async def fetch_past(settings: Settings, since: datetime) -> None:
    """Fetch the history of every product that is followed.

    Raises:
        LeaseTakenError: If somebody else does.
        RefusalError: If no product is followed yet, or Kafka is not there.
    """
    is_remote = settings.exchange == "live"
    keys = [ProductKey(ORIGIN.venue, ORIGIN.market, name) for name in settings.products]
    with Lease(settings.state_dir, LEASE):
        there = await asyncio.to_thread(_read, settings, keys)
        if not there:
            raise RefusalError("no product has progress yet: its producer fetches its first history by itself")
        async with (
            errand(settings, ORIGIN.venue, TOPICS) as running,
            open_session(settings.coinbase_rest, is_remote=is_remote) as session,
        ):
            archive = CoinbaseArchive(
                session, running.metrics, bury(running), requests_per_second=REQUESTS_PER_SECOND, burst=BURST
            )
            past = Past(archive, running.delivery, running.metrics)
            for key, what in there.items():
                await past.fetch(key, what, since)


def _read(settings: Settings, keys: Iterable[ProductKey]) -> Mapping[ProductKey, Covered]:
    """Read what is there of each product; one that has no progress yet is left out."""
    names = frozenset(map(str, keys := list(keys)))
    bootstrap = settings.kafka.address
    progress = read_progress(bootstrap, names | {f"{name}{OF_PAST}" for name in names})
    cursors = read_cursors(bootstrap, names)
    for name in sorted(names - progress.keys()):
        log.warning("a product has no progress yet and is passed over", extra={"product": name})
    return {
        key: covered(progress[str(key)], progress.get(f"{key}{OF_PAST}"), cursors.get(str(key)))
        for key in keys
        if str(key) in progress
    }


def hour(text: str) -> datetime:
    """Read `2026-11-20T03`.

    Raises:
        argparse.ArgumentTypeError: If it is written otherwise.
    """
    try:
        return datetime.strptime(text, KEY_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an hour like 2026-11-20T03") from None


def end_with_input() -> None:
    """End this process as soon as its standard input ends: whoever began it and waits for it is no more."""

    def watch() -> None:
        # Not of `sys.stdin`: a thread that waits there would be in the way of the interpreter's own end.
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="input", daemon=True).start()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="past", description="Fetch history from before what is there.")
    parser.add_argument("since", type=hour, help="the first hour that is wanted, UTC, like 2026-11-20T03")
    parser.add_argument("--attended", action="store_true", help="end when standard input does")
    given = parser.parse_args(sys.argv[1:])
    if given.attended:
        end_with_input()
    run(partial(fetch_past, since=given.since))

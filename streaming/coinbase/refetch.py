"""Fetch trades that the lake lacks: `python -m streaming.coinbase.refetch BTC-USD:910941280-910941299 …`.

It runs beside the producer and does not disturb it: what both send, Silver holds once. It ends when every trade is
acknowledged, or named in `ingestion.events` as unavailable; its log tells the outcome of each stretch of ids.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from include.contracts import topics
from include.settings import Settings
from streaming.coinbase.rest import ORIGIN, CoinbaseArchive, bury
from streaming.gaps import Gap
from streaming.product import Product, ProductKey
from streaming.repair import Repairer
from streaming.service import Service, errand, run
from streaming.session import open_session

log = logging.getLogger("streaming.coinbase.refetch")

TOPICS = (topics.COINBASE_TRADES, topics.COINBASE_DEAD_LETTERS, topics.EVENTS)
REASON = "the hour found them missing in Bronze"
OUTCOME = "refetched"
"""The message of the log line that tells the outcome of a stretch of ids."""


class Wanted(NamedTuple):
    """Trades of one product: all ids from the first to the last."""

    product_id: str
    ids: range


def wanted(text: str) -> Wanted:
    """Read `BTC-USD:100-200`.

    Raises:
        argparse.ArgumentTypeError: If it is written otherwise, or the last id is before the first.
    """
    match = re.fullmatch(r"([^:]+):(\d+)-(\d+)", text)
    if match is None or int(match[2]) > int(match[3]):
        raise argparse.ArgumentTypeError(f"{text!r} is not like BTC-USD:100-200")
    return Wanted(match[1], range(int(match[2]), int(match[3]) + 1))


async def refetch(settings: Settings, all_wanted: Iterable[Wanted]) -> None:
    """Fetch each, one after the other: they share the exchange's request limit."""
    is_remote = settings.exchange == "live"
    async with (
        errand(settings, ORIGIN.venue, TOPICS) as running,
        open_session(settings.coinbase_rest, is_remote=is_remote) as session,
    ):
        archive = CoinbaseArchive(session, running.metrics, bury(running))
        for each in all_wanted:
            gap = Gap(each.ids, REASON, is_due=True)
            await _repairer(each.product_id, archive, running).mend(gap)
            facts = {"first_missing_id": gap.first, "last_missing_id": gap.last, "unavailable": gap.missing_count}
            log.info(OUTCOME, extra={"product_id": each.product_id, **facts})


def _repairer(product_id: str, archive: CoinbaseArchive, running: Service) -> Repairer:
    product = Product(ProductKey(ORIGIN.venue, ORIGIN.market, product_id), datetime.now(UTC))
    topic = topics.COINBASE_TRADES
    return Repairer(product, archive, running.delivery, running.metrics, ORIGIN, topic, asyncio.Event())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="refetch", description="Fetch trades that the lake lacks.")
    parser.add_argument("wanted", nargs="+", type=wanted, help="a product and its ids, like BTC-USD:100-200")
    given = parser.parse_args(sys.argv[1:]).wanted
    run(partial(refetch, all_wanted=given))

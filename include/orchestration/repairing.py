"""Trades of an hour that Bronze lacks and nobody has asked for: found by their ids, fetched from the venue."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException
from confluent_kafka.admin import AdminClient

from include.contracts import bronze, topics
from include.contracts.venues import COINBASE
from include.orchestration.evidence import end_offsets
from include.orchestration.hours import Hour
from include.orchestration.lake import between, instant, open_catalog, rows
from include.orchestration.triggers import SettledTrigger
from include.settings import CHECKOUT, Settings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

EDGE = timedelta(minutes=2)
"""How far around the hour neighbours are looked for; a hole that is wider is the ledger's, as `gap`."""
EVENTS_SINCE = timedelta(days=1)
"""How long before an hour its holes may have been told of: our clock may be behind the exchange's."""
FETCH = ("-m", "streaming.coinbase.refetch")
OUTCOME = "refetched"

Holes = dict[str, list[range]]
"""Missing trade ids by product."""


class RepairGaps(BaseOperator):
    """Fetches what the hour lacks and waits until Bronze has it; the result is the outcome of each hole.

    The producer itself fetches what its feed leaves out, and an hour is closed only after that. So this finds nothing
    unless something went wrong that nobody noticed; it costs one look at the hour's ids.
    """

    ui_color = "#e6f1f2"

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Look, fetch, and let the triggerer wait.

        Raises:
            AirflowException: If the fetching failed.
        """
        settings, hour = Settings.load(), Hour.of_key(context["dag_run"].partition_key)
        with open_catalog(settings, settings.branch) as catalog:
            holes = find_holes(catalog, hour)
        if not holes:
            self.log.info("no id is missing that is not accounted for")
            return []
        outcomes = self._fetch(holes)
        ends = end_offsets(
            AdminClient({"bootstrap.servers": settings.kafka.address}), (topics.COINBASE_TRADES, topics.EVENTS)
        )
        awaited = {topic: {str(part): end for part, end in parts.items()} for topic, parts in ends.items()}
        self.defer(trigger=SettledTrigger(awaited), method_name="settled", kwargs={"outcomes": outcomes})

    def settled(self, context: Context, event: dict[str, Any], outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Go on: Bronze has what was fetched."""
        return outcomes

    def _fetch(self, holes: Holes) -> list[dict[str, Any]]:
        wanted = [f"{product}:{ids.start}-{ids.stop - 1}" for product, stretches in holes.items() for ids in stretches]
        self.log.warning("missing in Bronze, fetched now: %s", ", ".join(wanted))
        outcomes = []
        command = [sys.executable, *FETCH, *wanted]
        with subprocess.Popen(
            command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                self.log.info(line.rstrip())
                if (told := _json(line)).get("message") == OUTCOME:
                    outcomes.append(told)
        if process.returncode != 0:
            raise AirflowException(f"the fetching ended with {process.returncode}; its last words are above")
        return outcomes


def find_holes(catalog: Catalog, hour: Hour) -> Holes:
    """Return the ids of Coinbase's trades that touch an hour, are not in Bronze and were not told to be unavailable."""
    low, high = hour.start - EDGE, hour.end + EDGE
    by_time = between("time", f"{low:%Y-%m-%dT%H:%M:%S}", f"{high:%Y-%m-%dT%H:%M:%S}")
    columns = ("venue", "product_id", "trade_id", "time")
    trades = rows(catalog, bronze.TRADES, by_time, columns)
    since = f"_ingested_at >= '{instant(hour.start - EVENTS_SINCE)}'"
    told = rows(catalog, bronze.INGESTION_EVENTS, since, ("venue", "product_id", "_raw_payload"))
    lost: dict[str, list[range]] = {}
    for event in told.to_pylist():
        gap = _json(event["_raw_payload"])
        if event["venue"] == COINBASE.name and gap.get("state") == "unavailable" and gap.get("first_missing_id"):
            ids = range(gap["first_missing_id"], gap["last_missing_id"] + 1)
            lost.setdefault(event["product_id"], []).append(ids)
    seen: dict[str, dict[int, datetime]] = {}
    for trade in trades.to_pylist():
        at = _time(trade["time"])
        if trade["venue"] == COINBASE.name and trade["trade_id"].isdecimal() and at:
            seen.setdefault(trade["product_id"], {})[int(trade["trade_id"])] = at
    found = {product: list(holes_of(ids, hour, lost.get(product, ()))) for product, ids in sorted(seen.items())}
    return {product: stretches for product, stretches in found.items() if stretches}


def holes_of(seen: Mapping[int, datetime], hour: Hour, lost: Iterable[range]) -> Iterator[range]:
    """Yield the ids that are missing between trades, where a missing trade may lie within the hour.

    Args:
        seen: Exchange time by trade id.
        lost: Ids that are known to be unavailable.
    """
    accounted = sorted(lost, key=lambda ids: ids.start)
    for earlier, later in pairwise(sorted(seen)):
        touches = seen[earlier] < hour.end and seen[later] >= hour.start
        if later > earlier + 1 and touches:
            yield from _without(range(earlier + 1, later), accounted)


def _without(ids: range, accounted: Iterable[range]) -> Iterator[range]:
    at = ids.start
    for other in accounted:
        if other.stop <= at or other.start >= ids.stop:
            continue
        if other.start > at:
            yield range(at, other.start)
        at = max(at, other.stop)
    if at < ids.stop:
        yield range(at, ids.stop)


def _time(text: str) -> datetime | None:
    """Read an exchange time as received; none if it is none, which is for Silver's rules to say."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

"""Holding the candles of a published hour against the exchange's own."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowException

from include.contracts import gold
from include.contracts.venues import VENUES, Venue
from include.orchestration import alerts, gate_results
from include.orchestration.hours import Hour
from include.orchestration.lake import open_catalog, rows_of_hour
from include.orchestration.ops_rows import replace
from include.settings import CHECKOUT, Settings

log = logging.getLogger(__name__)

FETCHED = "candles"
"""The message of the log line in which a venue's program tells a product's candles."""
PRICES = ("open", "high", "low", "close")
EQUAL, DIFFERS, OURS_MISSING, THEIRS_MISSING = "equal", "differs", "ours missing", "theirs missing"

Row = Mapping[str, Any]
Minute = tuple[str, str, str, datetime]
"""Venue, market, product and start of a candle."""


@task
def reconcile_candles() -> dict[str, int]:
    """Compare the hour's candles with those of each venue that has its own; the result counts how they agree.

    `gold.candle_reconciliation` then has this comparison of the hour and no other.

    Raises:
        AirflowException: If a venue does not give its candles.
    """
    settings, now = Settings.load(), datetime.now(UTC)
    hour = Hour.of_key(get_current_context()["dag_run"].partition_key)
    with open_catalog(settings, settings.branch) as catalog:
        candles = rows_of_hour(catalog, gold.OHLCV_1M, hour).to_pylist()
    compared: list[Row] = []
    for venue in (venue for venue in VENUES if venue.has_candles):
        ours = [candle for candle in candles if candle["venue"] == venue.name]
        theirs: list[Row] = []
        for market in sorted({candle["market"] for candle in ours}):
            products = sorted({candle["product_id"] for candle in ours if candle["market"] == market})
            theirs += _fetch(venue, market, products, hour)
        compared += compare(ours, theirs)
    if compared:
        values = [
            [_told(row.get(name)) for name in gold.CANDLE_RECONCILIATION.column_names]
            for row in ({**row, "reconciled_at": now} for row in compared)
        ]
        replace(settings, gold.CANDLE_RECONCILIATION, values, hour)
    agreement = [row["agreement"] for row in compared]
    return {each: agreement.count(each) for each in sorted(set(agreement))}


@task
def judge_candles() -> None:
    """Judge the comparison as a gate does, keep the verdicts, and alert if too many candles are not the exchange's."""
    from include.quality import reconciliation
    from include.quality.judgement import Outcome, frame_name, judge
    from include.renderers import gx

    gx.quieten()
    settings, context = Settings.load(), get_current_context()
    hour, ti = Hour.of_key(context["dag_run"].partition_key), context["ti"]
    (table,) = reconciliation.TABLES
    with open_catalog(settings, settings.branch) as catalog:
        frame = rows_of_hour(catalog, table, hour)
    verdicts = judge(reconciliation.TABLES, reconciliation.CHECKS, {frame_name(table): frame})
    for verdict in verdicts:
        log.info("%-6s %s", verdict.outcome, verdict)
    attempt = gate_results.Attempt(hour.key, ti.run_id, ti.try_number, settings.branch, datetime.now(UTC))
    gate_results.keep(settings, attempt, verdicts)
    broken = [verdict for verdict in verdicts if verdict.outcome is not Outcome.PASS]
    if any(verdict.outcome is not Outcome.IGNORE for verdict in broken):
        summary = f"candles of {hour}, as published, are not the exchange's own"
        alerts.warn(context, summary, branch=settings.branch, findings=alerts.findings_of(broken))


def compare(ours: Iterable[Row], theirs: Iterable[Row]) -> list[Row]:
    """Put each candle of ours beside the exchange's of the same minute, and say whether they are equal.

    Args:
        ours: Rows of `gold.ohlcv_1m`.
        theirs: Candles with the same names for what they have; none of minutes without trades.
    """
    left = {_minute(candle): candle for candle in ours}
    right = {_minute(candle): candle for candle in theirs}
    compared: list[Row] = []
    for minute in sorted(left.keys() | right.keys()):
        our, their = left.get(minute, {}), right.get(minute, {})
        exchange = {f"exchange_{name}": their.get(name) for name in (*PRICES, "volume")}
        facts = {name: our.get(name) for name in (*PRICES, "volume", "status")}
        key = dict(zip(gold.CANDLE_RECONCILIATION.grain, minute, strict=True))
        compared.append({**key, **facts, **exchange, "agreement": _agreement(our, their)})
    return compared


def _agreement(our: Row, their: Row) -> str:
    """Say how two candles of a minute agree; an empty one and none at all mean the same."""
    is_ours, is_theirs = our.get("open") is not None, bool(their)
    if is_ours != is_theirs:
        return THEIRS_MISSING if is_ours else OURS_MISSING
    if not is_ours:
        return EQUAL
    return EQUAL if all(our[name] == their[name] for name in (*PRICES, "volume")) else DIFFERS


def _fetch(venue: Venue, market: str, products: Sequence[str], hour: Hour) -> Iterator[Row]:
    """Yield the exchange's candles of an hour of a market's products.

    Raises:
        AirflowException: If it does not give them.
    """
    command = [sys.executable, "-m", f"streaming.{venue.name}.candles", hour.key, *products]
    told: dict[str, list[Row]] = {}
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            fetched = _fetched(line)
            if fetched is None:
                log.info(line.rstrip())
            else:
                told[fetched["product_id"]] = fetched["candles"]
    if process.returncode != 0 or told.keys() != set(products):
        raise AirflowException(f"{venue.name} gave candles of {len(told)} of {len(products)} products; why is above")
    for product_id, candles in told.items():
        for candle in candles:
            yield {
                **{name: Decimal(candle[name]) for name in (*PRICES, "volume")},
                "venue": venue.name,
                "market": market,
                "product_id": product_id,
                "window_start": datetime.fromisoformat(candle["time"]),
            }


def _fetched(line: str) -> Row | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) and told.get("message") == FETCHED else None


def _minute(candle: Row) -> Minute:
    return candle["venue"], candle["market"], candle["product_id"], candle["window_start"]


def _told(value: object) -> object:
    """Give a value as text where the driver would not keep it: a moment's zone, a number's digits."""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value

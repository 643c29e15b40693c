"""Does a table read as it did on its first day? Candles written hour by hour, 500 commits, with the daily maintenance.

On a catalog, a store and Spark's SQL server of its own. An hour is three commits: it is written, deleted and written
again, as after a late trade. After each day of hours the table is maintained as `iceberg_maintenance` does it. What is
read is one hour of candles, by pyiceberg, in turns from this table and from one that got the same rows at once.
"""

from __future__ import annotations

import json
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.lake import TABLES_ALONE, running, sql
from benchmarks.report import table
from include.contracts import gold
from include.orchestration.hours import Hour
from include.orchestration.lake import open_catalog, rows_of_hour
from include.orchestration.nessie import Nessie
from tests.drivers.running_stack import RunningStack

COMMITS = 500
COMMITS_OF_AN_HOUR = 3
HOURS_OF_A_DAY = 24
READS = 101
LIMIT = 1.2
START = datetime(2026, 11, 1, tzinfo=UTC)
NAME = f"lake.{gold.OHLCV_1M.full_name}"
FRESH = "fresh"
PRODUCTS = ", ".join(f"'P{number}-USD'" for number in range(10))
"""Ten products of sixty minutes: 600 rows an hour."""


def measure(commits: int = COMMITS) -> str:
    """Write, maintain and read; return the times.

    Raises:
        AssertionError: If the two tables differ.
    """
    hours = commits // COMMITS_OF_AN_HOUR
    with running(*TABLES_ALONE) as stack:
        settings = stack.settings
        with Nessie(settings.nessie_api) as nessie:
            empty = nessie.get(settings.branch)
            nessie.create(FRESH, at=empty.hash, source=settings.branch)
        _fill_at_once(stack, hours)
        reports = []
        for first in range(0, hours, HOURS_OF_A_DAY):
            last = min(first + HOURS_OF_A_DAY, hours)
            _fill_by_the_hour(stack, range(first, last))
            reports.append(_maintain(stack))
            print(f"{COMMITS_OF_AN_HOUR * last} commits: {reports[-1]['after']}", flush=True)
        times = _read_in_turns(stack, hours)
    p50 = {ref: statistics.median(taken) * 1000 for ref, taken in times.items()}
    ratio = p50["main"] / p50[FRESH]
    newest = reports[-1]
    summary = table(
        ("an hour of candles", "p50", "p95"),
        [
            (name, f"{p50[ref]:.1f} ms", f"{statistics.quantiles(times[ref], n=20)[-1] * 1000:.1f} ms")
            for name, ref in ((f"after {commits} commits", "main"), ("of a fresh table", FRESH))
        ],
    )
    files = table(
        ("the last maintenance", "files", "manifests", "snapshots"),
        [(when, *(newest[when][of] for of in ("files", "manifests", "snapshots"))) for when in ("before", "after")],
    )
    return f"{summary}\n\nThe ratio of the medians is {ratio:.2f}; promised is at most {LIMIT}.\n\n{files}"


def _candles(first: datetime, hours: int) -> str:
    """Give the candles of some hours as Spark SQL; a price that no two rows share, so that files are not all alike."""
    end = first + timedelta(hours=hours)
    price = "cast(10000 + pmod(hash(product_id, window_start), 1000000) / 100 as decimal(18, 8))"
    values = {
        "venue": "'coinbase'",
        "market": "'spot'",
        "window_end": "window_start + interval 1 minute",
        **dict.fromkeys(("open", "high", "low", "close", "vwap"), price),
        "volume": "1",
        "trade_count": "1",
        "status": "'complete'",
    }
    columns = ", ".join(
        f"cast({values.get(column.name, column.name)} as {column.type}) as {column.name}"
        for column in gold.OHLCV_1M.columns
    )
    return (
        f"select {columns} from (select explode(array({PRODUCTS})) as product_id) cross join "
        f"(select explode(sequence({_literal(first)}, {_literal(end)} - interval 1 minute, interval 1 minute)) "
        "as window_start)"
    )


def _literal(moment: datetime) -> str:
    return f"timestamp '{moment:%Y-%m-%d %H:%M:%S}+00:00'"


def _fill_at_once(stack: RunningStack, hours: int) -> None:
    with sql(stack, FRESH) as cursor:
        cursor.execute(f"insert into {NAME} {_candles(START, hours)}")


def _fill_by_the_hour(stack: RunningStack, hours: range) -> None:
    with sql(stack, stack.settings.branch) as cursor:
        for number in hours:
            first = START + timedelta(hours=number)
            end = first + timedelta(hours=1)
            of_hour = f"window_start >= {_literal(first)} and window_start < {_literal(end)}"
            cursor.execute(f"insert into {NAME} {_candles(first, 1)}")
            cursor.execute(f"delete from {NAME} where {of_hour}")
            cursor.execute(f"insert into {NAME} {_candles(first, 1)}")


def _maintain(stack: RunningStack) -> dict[str, Any]:
    report = Path(stack.state) / "report.json"
    job = stack.run(
        "spark-submit", "spark_apps/iceberg_maintenance/job.py", f"--table={gold.OHLCV_1M.full_name}",
        f"--as-of={datetime.now(UTC).isoformat()}", f"--report={report}", timeout=600,
    )  # fmt: skip
    if job.returncode:
        raise RuntimeError(job.stdout)
    return dict(json.loads(report.read_text()))


def _read_in_turns(stack: RunningStack, hours: int) -> dict[str, list[float]]:
    """Return how many seconds each reading took, by branch; the first of each does not count."""
    settings, hour = stack.settings, Hour(START + timedelta(hours=hours // 2))
    times: dict[str, list[float]] = {"main": [], FRESH: []}
    with open_catalog(settings, "main") as main, open_catalog(settings, FRESH) as fresh:
        catalogs = {"main": main, FRESH: fresh}
        candles = {ref: rows_of_hour(catalog, gold.OHLCV_1M, hour) for ref, catalog in catalogs.items()}
        order = [("product_id", "ascending"), ("window_start", "ascending")]
        assert candles["main"].sort_by(order).equals(candles[FRESH].sort_by(order)), "the tables differ"
        for _ in range(READS):
            for ref, catalog in catalogs.items():
                began = time.perf_counter()
                rows_of_hour(catalog, gold.OHLCV_1M, hour)
                times[ref].append(time.perf_counter() - began)
    return times

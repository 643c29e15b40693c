"""Half an hour at five times the recorded rate: is a trade lost, and does memory stay flat?

On a stack of its own the exchange's stand-in lets its time pass five times as fast, from the first trade on. In the end
every trade that it traded has to be in Bronze, every offset once and without a hole, by the reckoning of the tests.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import psutil

from benchmarks.report import table
from tests.conftest import COMMITTED_RECORDING
from tests.drivers.ingestion import Ingestion

LENGTH = timedelta(minutes=30)
SPEED = 5
SAMPLE_SECONDS = 15.0
WARM = timedelta(minutes=10)
"""After so long a process has what it needs, and what it takes from then on is a leak, or Java's heap."""
MIB = 1024**2
SERVICES = ("producer-coinbase", "bronze-writer", "kafka", "nessie", "s3")

Samples = dict[str, list[tuple[float, float]]]
"""By service: the seconds since the start, and the MiB of proportional memory."""


def measure(length: timedelta = LENGTH) -> str:
    """Let the ingestion run, and return what it took.

    Raises:
        AssertionError: If a trade is lost, or an offset missing or there twice.
    """
    choices = {"LAKE_REPLICA_SPEED": str(SPEED), "LAKE_BRONZE_INTERVAL": "PT10S"}
    with Ingestion.on_a_stack_of_its_own(COMMITTED_RECORDING, choices) as ingestion:
        began, cpu = time.monotonic(), {name: _cpu_seconds(ingestion, name) for name in SERVICES}
        used: Samples = defaultdict(list)
        while (passed := time.monotonic() - began) < length.total_seconds():
            for name in SERVICES:
                used[name].append((passed, _memory(ingestion, name) / MIB))
            now = ", ".join(f"{name} {used[name][-1][1]:,.0f} MiB" for name in SERVICES)
            print(f"{passed / 60:4.1f} min: {now}", flush=True)
            time.sleep(SAMPLE_SECONDS)
        spent = {name: _cpu_seconds(ingestion, name) - cpu[name] for name in SERVICES}
        ingestion.assert_nothing_is_lost()
        trades = len(ingestion.lake.rows("bronze.trades", columns=["trade_id"]))
    minutes = length / timedelta(minutes=1)
    rows = [
        (
            name,
            *(
                f"{statistics.median(mib for at, mib in used[name] if low <= at < high):,.0f}"
                for low, high in _thirds(length)
            ),
            f"{_growth(used[name]):+,.0f}",
            f"{spent[name] / length.total_seconds():.1%}",
        )
        for name in SERVICES
    ]
    heading = ("service", *(f"MiB, {name} third" for name in ("first", "second", "last")), "MiB an hour", "of a core")
    return (
        f"{minutes:.0f} minutes at {SPEED} times the recorded rate: {trades:,} trades in Bronze, none lost, no offset "
        f"missing or there twice. The growth is a line through the samples after {WARM / timedelta(minutes=1):.0f} "
        f"minutes.\n\n{table(heading, rows)}"
    )


def _thirds(length: timedelta) -> list[tuple[float, float]]:
    third = length.total_seconds() / 3
    return [(part * third, (part + 1) * third) for part in range(3)]


def _growth(samples: list[tuple[float, float]]) -> float:
    """Return the MiB by which the memory grows in an hour, once the process is warm."""
    at, mib = zip(*((at, mib) for at, mib in samples if at >= WARM.total_seconds()), strict=True)
    return statistics.linear_regression(at, mib).slope * 3600


def _memory(ingestion: Ingestion, service: str) -> float:
    return _sum(ingestion, service, lambda process: process.memory_full_info().pss)


def _cpu_seconds(ingestion: Ingestion, service: str) -> float:
    return _sum(ingestion, service, lambda process: sum(process.cpu_times()[:2]))


def _sum(ingestion: Ingestion, service: str, of: Callable[[psutil.Process], float]) -> float:
    """Add up what all processes of a service have; Java starts some that live for a moment."""
    total = 0.0
    for process in ingestion.processes(service):
        with suppress(psutil.NoSuchProcess):
            total += of(process)
    return total

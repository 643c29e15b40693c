"""Where results are written: a section of docs/benchmarks.md for each workload, between two markers."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import psutil

from include.settings import CHECKOUT

PAGE = CHECKOUT / "docs" / "benchmarks.md"


def write(workload: str, text: str) -> None:
    """Put a workload's results into the page, in place of those before.

    Raises:
        ValueError: If the page has no place for the workload.
    """
    begin, end = f"<!-- {workload}: measured -->", f"<!-- {workload}: end -->"
    page = PAGE.read_text()
    if begin not in page or end not in page:
        raise ValueError(f"{PAGE.relative_to(CHECKOUT)} has no lines {begin} and {end}")
    before, rest = page.split(begin, 1)
    after = rest.split(end, 1)[1]
    PAGE.write_text(f"{before}{begin}\n{machine()}\n\n{text.strip()}\n{end}{after}")


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a Markdown table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """Write a median with the least and the most."""
    median, least, most = (format(value, form) for value in (statistics.median(values), min(values), max(values)))
    return f"{median} ({least} to {most})"


def machine() -> str:
    """Say when and on what was measured."""
    memory = psutil.virtual_memory().total / 1024**3
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} cores, {memory:.0f} GiB of memory, "
        f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}."
    )

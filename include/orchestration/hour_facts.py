"""What can be said of a published hour by looking at its tables: their snapshots, rows, files, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from include.contracts import bronze, gold, silver
from include.contracts.table import Table
from include.orchestration.hours import Hour
from include.orchestration.lake import between, instant, open_catalog, rows_of_hour, within
from include.orchestration.nessie import Nessie
from include.settings import Settings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

STATUSES = ("complete", "empty", "gap", "open")
"""What a candle says of its minute."""


def measure(settings: Settings, at: str, hour: Hour, tables: Sequence[Table]) -> dict[str, dict[str, Any]]:
    """Measure an hour of some tables as of a commit of the branch that readers see; by table, JSON that is flat.

    - `snapshot_id`: as text, for its digits are more than a page's numbers have; None of an empty table;
    - `rows`: those of the hour, of a table by days the day's, of a table without hours all;
    - `bytes`: of all data files with such rows, whole: one may hold other hours too once it has been compacted;
    - `completeness` and the counts behind it: as `completeness` says.
    """
    with Nessie(settings.nessie_api) as nessie:
        snapshots = {content.name: content.snapshot_id for content in nessie.contents(at)}
    with open_catalog(settings, f"{settings.branch}@{at}") as catalog:
        candles = rows_of_hour(catalog, gold.OHLCV_1M, hour, ("status",))
        missing = rows_of_hour(catalog, silver.PRODUCT_HOURS, hour, ("missing_count",))
        complete = completeness(candles["status"].to_pylist(), missing["missing_count"].to_pylist())
        return {
            table.full_name: {
                "snapshot_id": _text(snapshots.get(table.full_name)),
                **_size(catalog, table, hour),
                **complete,
            }
            for table in tables
        }


def completeness(statuses: Iterable[str], missing: Iterable[int]) -> Mapping[str, float | int | None]:
    """Say how complete an hour is.

    Args:
        statuses: Of each product and minute of the hour.
        missing: How many trade ids are missing, of each product that counts its trades.

    Returns:
        `completeness`, the share of minutes of which nothing is missing, never rounded up to 1, None of an hour without
        products; `minutes_complete`, `minutes_empty`, `minutes_gap`, `minutes_open`, their number; `missing_trades`.
    """
    counts = dict.fromkeys(STATUSES, 0)
    for status in statuses:
        counts[status] += 1
    whole, every = counts["complete"] + counts["empty"], sum(counts.values())
    return {
        "completeness": whole * 10_000 // every / 10_000 if every else None,
        **{f"minutes_{status}": count for status, count in counts.items()},
        "missing_trades": sum(missing),
    }


def _size(catalog: Catalog, table: Table, hour: Hour) -> dict[str, int]:
    scan = catalog.load_table(table.full_name).scan(_of_hour(table, hour), selected_fields=table.grain)
    files = {task.file.file_path: task.file.file_size_in_bytes for task in scan.plan_files()}
    return {"rows": scan.to_arrow().num_rows, "bytes": sum(files.values())}


def _of_hour(table: Table, hour: Hour) -> str:
    """Say which rows are the hour's; of a streamed table without exchange time, those that arrived in it."""
    if table.hour_column is None and table.streamed:
        return between(bronze.ARRIVED, instant(hour.start), instant(hour.end))
    return within(table, hour)


def _text(snapshot_id: int | None) -> str | None:
    return None if snapshot_id is None else str(snapshot_id)

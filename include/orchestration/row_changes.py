"""What a branch made of a table's rows, read from the files that it does not share with `main`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from include.contracts import TABLES
from include.contracts.table import Kind, Table
from include.orchestration.branches import Changes, TableChange
from include.orchestration.hours import Hour
from include.orchestration.lake import open_catalog
from include.settings import Settings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import FileScanTask
    from pyiceberg.table import Table as IcebergTable

OF_ROWS = "ICEBERG_TABLE"
CONTRACTS = {table.full_name: table for table in TABLES}


@dataclass(frozen=True, slots=True)
class RowChanges:
    """How many rows of one table a branch added, removed and changed, by the table's grain.

    Args:
        rows: How many there are on the branch.
        windows: The starts of the windows of exchange time in which rows differ; empty for tables without hours.
        new_columns: What the branch's schema has and that of `main` has not.
        lost_columns: The other way round.
    """

    rows: int
    added: int
    removed: int
    changed: int
    windows: tuple[datetime, ...] = ()
    new_columns: tuple[str, ...] = ()
    lost_columns: tuple[str, ...] = ()


def row_changes(settings: Settings, found: Changes) -> dict[str, RowChanges]:
    """Compare the rows of every table that a branch changed with those where it left `main`; views have none.

    Files that both sides hold are not read, so the cost follows what was written and not the table.
    """
    with (
        open_catalog(settings, f"{settings.branch}@{found.base}") as before,
        open_catalog(settings, f"{found.branch}@{found.head}") as after,
    ):
        return {change.name: _compare(change, before, after) for change in found.tables if _has_rows(change)}


def described(found: Changes, rows: Mapping[str, RowChanges]) -> list[str]:
    """Say what a branch made of the lake, a line for each table."""
    lines = [f"{found.branch} left main at {found.base[:12]}; main has {found.behind} commits since"]
    for table in found.tables:
        said = [table.kind, _snapshots(table)]
        if change := rows.get(table.name):
            said += [f"{change.rows} rows", f"+{change.added} -{change.removed} ~{change.changed}"]
            said += [f"new column {name}" for name in change.new_columns]
            said += [f"column {name} is gone" for name in change.lost_columns]
        if table.is_changed_on_main:
            said.append("main has changed it, too: it cannot be merged")
        lines.append(f"{table.name}: {', '.join(word for word in said if word)}")
    return lines if found.tables else [*lines, "nothing is changed on it"]


def hours_of(changes: Mapping[str, RowChanges], published: list[datetime]) -> list[Hour]:
    """Return the hours by which a gate sees every row that differs: a window is seen by its newest published hour.

    Args:
        published: The starts of all hours that Silver has on the branch.
    """
    hours: set[Hour] = set()
    for name, change in changes.items():
        table = CONTRACTS.get(name)
        if table is None or not (change.added or change.removed or change.changed):
            continue
        if table.hour_column is None:
            hours |= {Hour(max(published))} if published else set()
        for window in change.windows:
            inside = [start for start in published if window <= start < window + table.window]
            # Rows of an hour that Silver does not have break the gate's first rule: let it say so.
            hours.add(Hour(max(inside, default=window)))
    return sorted(hours)


def _snapshots(table: TableChange) -> str:
    before, after = (side.snapshot_id if side else None for side in (table.before, table.after))
    return f"snapshot {before or 'none'} → {after or 'none'}" if before != after else ""


def _has_rows(change: TableChange) -> bool:
    return any(side is not None and side.type == OF_ROWS for side in (change.before, change.after))


def _compare(change: TableChange, before: Catalog, after: Catalog) -> RowChanges:
    old = before.load_table(change.name) if change.before else None
    new = after.load_table(change.name) if change.after else None
    old_tasks, new_tasks = _tasks(old), _tasks(new)
    shared = old_tasks.keys() & new_tasks.keys()
    removed = _read(old, [task for key, task in old_tasks.items() if key not in shared])
    added = _read(new, [task for key, task in new_tasks.items() if key not in shared])
    old_columns = [field.name for field in old.schema().fields] if old else []
    new_columns = [field.name for field in new.schema().fields] if new else []
    contract = CONTRACTS.get(change.name)
    counts = _count(removed, added, contract)
    return RowChanges(
        rows=sum(task.file.record_count for task in new_tasks.values()),
        added=counts[0],
        removed=counts[1],
        changed=counts[2],
        windows=counts[3],
        new_columns=tuple(name for name in new_columns if old and name not in old_columns),
        lost_columns=tuple(name for name in old_columns if new and name not in new_columns),
    )


def _tasks(table: IcebergTable | None) -> dict[tuple[str, ...], FileScanTask]:
    """Return a table's data files by their path, and those of the deletes that apply to each."""
    if table is None:
        return {}
    tasks = table.scan().plan_files()
    return {(task.file.file_path, *sorted(gone.file_path for gone in task.delete_files)): task for task in tasks}


def _read(table: IcebergTable | None, tasks: list[FileScanTask]) -> pa.Table | None:
    from pyiceberg.expressions import AlwaysTrue
    from pyiceberg.io.pyarrow import ArrowScan

    if table is None or not tasks:
        return None
    return ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue()).to_table(tasks)


def _count(
    removed: pa.Table | None, added: pa.Table | None, contract: Table | None
) -> tuple[int, int, int, tuple[datetime, ...]]:
    """Count added, removed and changed rows by grain, and find the windows they lie in.

    A row that was only moved to another file is none of them. A table that no contract knows is compared by whole rows.
    """
    example = added if added is not None else removed
    if example is None:
        return 0, 0, 0, ()
    old = removed if removed is not None else example.slice(0, 0)
    new = added if added is not None else example.slice(0, 0)
    columns = [name for name in new.column_names if name in old.column_names]
    grain = [name for name in contract.grain if name in columns] if contract else columns
    with duckdb.connect() as connection:
        connection.register("old", _zoneless(old))
        connection.register("new", _zoneless(new))
        rows = ", ".join(f'"{name}"' for name in columns)
        keys = ", ".join(f'"{name}"' for name in grain)
        same = " and ".join(f'o."{name}" is not distinct from n."{name}"' for name in grain)
        window = _window(contract, columns)
        # Equal rows on both sides are taken away one by one: a row that is there twice counts twice.
        connection.execute(
            f"""
            create temp table differing as
            with o as (select {rows} from old except all select {rows} from new),
            n as (select {rows} from new except all select {rows} from old),
            o_numbered as (select *, row_number() over (partition by {keys}) as copy from o),
            n_numbered as (select *, row_number() over (partition by {keys}) as copy from n)
            select o.copy is null as is_added, n.copy is null as is_removed,
                   {window.format("o")} as old_window, {window.format("n")} as new_window
            from o_numbered as o full join n_numbered as n on o.copy = n.copy and {same}
            """
        )
        counts = connection.sql(
            "select count(*) filter (is_added), count(*) filter (is_removed),"
            " count(*) filter (not is_added and not is_removed) from differing"
        ).fetchall()[0]
        windows = connection.sql(
            "select distinct w::timestamp as w from (select old_window as w from differing"
            " union all select new_window from differing) where w is not null order by w"
        ).fetchall()
    return *counts, tuple(_utc(moment) for (moment,) in windows)


def _window(contract: Table | None, columns: list[str]) -> str:
    """Say in SQL where a row's window begins; `{}` is the row's name."""
    if contract is None or contract.hour_column is None or contract.hour_column not in columns:
        return "null"
    if contract.column(contract.hour_column).type.kind is Kind.STRING:
        return "null"
    seconds = int(contract.window.total_seconds())
    return f"time_bucket(interval '{seconds} seconds', {{}}.\"{contract.hour_column}\"::timestamp)"


def _zoneless(frame: pa.Table) -> pa.Table:
    """Give instants as UTC clock readings: DuckDB's zoned type needs an extension to be cut to an hour."""
    for index, field in enumerate(frame.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            frame = frame.set_column(index, field.name, frame.column(index).cast(pa.timestamp("us")))
    return frame


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)

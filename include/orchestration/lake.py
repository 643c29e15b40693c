"""Reading the lake's tables, on any branch, as Arrow."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from include.contracts import silver
from include.contracts.table import Kind, Table
from include.orchestration.hours import Hour
from include.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog


def open_catalog(settings: Settings, ref: str) -> Catalog:
    """Open the lake as it stands on a branch, a tag or `branch@hash`, for reading; close it, best by a `with`.

    Raises:
        ValueError: If the stack has not made its secrets yet.
    """
    from pyiceberg.catalog import load_catalog

    if settings.s3_access_key is None or settings.s3_secret_key is None:
        raise ValueError(f"no S3 keys in {settings.state_dir}; run `python -m stack init`")
    return load_catalog(
        settings.catalog,
        **{
            "type": "rest",
            "uri": settings.nessie_iceberg(ref),
            "s3.endpoint": settings.s3.url,
            "s3.access-key-id": settings.s3_access_key.get_secret_value(),
            "s3.secret-access-key": settings.s3_secret_key.get_secret_value(),
            "s3.path-style-access": "true",
            "s3.region": "us-east-1",
        },
    )


def rows_of_hour(catalog: Catalog, table: Table, hour: Hour, columns: tuple[str, ...] | None = None) -> pa.Table:
    """Read the rows of the window that encloses one hour; of a table without hours all rows."""
    return rows(catalog, table, within(table, hour), columns)


def rows(catalog: Catalog, table: Table, condition: str, columns: tuple[str, ...] | None = None) -> pa.Table:
    """Read the rows that satisfy a condition, as pyiceberg spells it; all columns, or those that are named."""
    scan = catalog.load_table(table.full_name).scan(condition, selected_fields=columns or table.column_names)
    return scan.to_arrow()


def published_hours(catalog: Catalog, keys: Iterable[str]) -> list[str]:
    """Return which of some hours have been published, in their order in time."""
    asked = sorted(keys)
    if not asked:
        return []
    first, last = Hour.of_key(asked[0]), Hour.of_key(asked[-1])
    condition = between("hour_start", instant(first.start), instant(last.end))
    built = rows(catalog, silver.PRODUCT_HOURS, condition, ("hour_start",)).column("hour_start").unique().to_pylist()
    return sorted(set(asked) & {Hour(start).key for start in built})


def within(table: Table, hour: Hour) -> str:
    """Say which rows of a table an hour replaces, with literal bounds: of the hour, or of the window that encloses it.

    Exchange time as received is text in ISO 8601, so `2026-11-20T09:59:59.9Z` lies between two hours' keys as text.
    """
    if table.hour_column is None:
        return "true"
    start = window_start(table, hour)
    end = start + table.window
    match table.column(table.hour_column).type.kind:
        case Kind.STRING:
            return between(table.hour_column, Hour(start).key, Hour(end).key)
        case Kind.DATE:
            return between(table.hour_column, start.date().isoformat(), end.date().isoformat())
        case _:
            return between(table.hour_column, instant(start), instant(end))


def window_start(table: Table, hour: Hour) -> datetime:
    """Return where the window of a table begins that encloses an hour."""
    midnight = hour.start.replace(hour=0)
    return midnight + (hour.start - midnight) // table.window * table.window


def between(column: str, low: str, high: str) -> str:
    """Say that a column lies between two literals, the lower one included."""
    return f"{column} >= '{low}' and {column} < '{high}'"


def instant(moment: datetime) -> str:
    """Spell a moment as pyiceberg reads it."""
    return moment.isoformat(timespec="microseconds")

"""Reading the lake's tables, on any branch, as Arrow."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

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
    """Read the rows of one hour; of a table by days the hour's day, of a table without hours all rows."""
    return rows(catalog, table, within(table, hour), columns)


def rows(catalog: Catalog, table: Table, condition: str, columns: tuple[str, ...] | None = None) -> pa.Table:
    """Read the rows that satisfy a condition, as pyiceberg spells it; all columns, or those that are named."""
    scan = catalog.load_table(table.full_name).scan(condition, selected_fields=columns or table.column_names)
    return scan.to_arrow()


def within(table: Table, hour: Hour) -> str:
    """Say which rows of a table belong to an hour, with literal bounds.

    Exchange time as received is text in ISO 8601, so `2026-11-20T09:59:59.9Z` lies between two hours' keys as text.
    """
    if table.hour_column is None:
        return "true"
    match table.column(table.hour_column).type.kind:
        case Kind.STRING:
            return between(table.hour_column, hour.key, Hour(hour.end).key)
        case Kind.DATE:
            day = hour.start.date()
            return between(table.hour_column, day.isoformat(), (day + timedelta(days=1)).isoformat())
        case _:
            return between(table.hour_column, instant(hour.start), instant(hour.end))


def between(column: str, low: str, high: str) -> str:
    """Say that a column lies between two literals, the lower one included."""
    return f"{column} >= '{low}' and {column} < '{high}'"


def instant(moment: datetime) -> str:
    """Spell a moment as pyiceberg reads it."""
    return moment.isoformat(timespec="microseconds")

"""The lake through engines that did not write it: pyiceberg finds the files, Polars holds the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import polars as pl
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, GreaterThanOrEqual, LessThan
from pyiceberg.table import StaticTable
from pyiceberg.table.snapshots import Snapshot

from include.settings import Settings

HOURLY = {
    "silver.trades": "trade_time",
    "silver.trades_quarantine": "hour_start",
    "silver.trade_gaps": "hour_start",
    "silver.product_hours": "hour_start",
    "gold.ohlcv_1m": "window_start",
    "gold.ohlcv_5m": "window_start",
    "gold.ohlcv_1h": "window_start",
}
"""Each table that an hour replaces, and the column that says which rows are the hour's."""


@dataclass(frozen=True)
class Lake:
    """The tables as any reader sees them."""

    settings: Settings

    def catalog(self, ref: str = "main") -> Catalog:
        """Open the catalog at a branch, a tag or `branch@hash`, for a `with` that closes it."""
        access, secret = self.settings.s3_access_key, self.settings.s3_secret_key
        assert access is not None, "the stack has made no keys for the S3 store"
        assert secret is not None, "the stack has made no keys for the S3 store"
        return load_catalog(
            "lake",
            **{
                "type": "rest",
                "uri": f"{self.settings.nessie.url}/iceberg/{ref}",
                "s3.endpoint": self.settings.s3.url,
                "s3.access-key-id": access.get_secret_value(),
                "s3.secret-access-key": secret.get_secret_value(),
                "s3.path-style-access": "true",
                "s3.region": "us-east-1",
            },
        )

    def rows(
        self,
        table: str,
        where: BooleanExpression | None = None,
        *,
        columns: Iterable[str] = ("*",),
        ref: str = "main",
    ) -> pl.DataFrame:
        """Read rows of a table.

        Args:
            table: `layer.name`.
            where: Which rows; None for all.
            columns: Which columns; `*` for all.
        """
        with self.catalog(ref) as catalog:
            scan = catalog.load_table(table).scan(where or AlwaysTrue(), selected_fields=tuple(columns))
            return pl.from_arrow(scan.to_arrow())  # type: ignore[return-value]

    def hourly_rows(self, start: datetime, end: datetime) -> dict[str, pl.DataFrame]:
        """Read all rows of some hours, in an order that does not depend on files."""
        low, high = start.isoformat(), end.isoformat()
        frames = {
            table: self.rows(table, And(GreaterThanOrEqual(column, low), LessThan(column, high)))
            for table, column in HOURLY.items()
        }
        return {table: frame.sort(frame.columns) for table, frame in frames.items()}

    def snapshots(self, table: str) -> list[Snapshot]:
        """Return a table's snapshots, oldest first: of these Nessie's REST API shows the current one alone."""
        with self.catalog() as catalog:
            there = catalog.load_table(table)
        whole = StaticTable.from_metadata(there.metadata_location, there.io.properties)
        return sorted(whole.snapshots(), key=lambda snapshot: snapshot.sequence_number or 0)

    def references(self) -> dict[str, str]:
        """Return the hash of every branch and tag."""
        answer = httpx.get(f"{self.settings.nessie_api}/trees", params={"max-records": 1000}, timeout=30)
        answer.raise_for_status()
        return {reference["name"]: reference["hash"] for reference in answer.json()["references"]}

    def contents(self, tables: Iterable[str], ref: str = "main") -> Mapping[str, Any]:
        """Return where each table's metadata stands on a branch: it changes with every commit to the table."""
        with self.catalog(ref) as catalog:
            return {table: catalog.load_table(table).metadata_location for table in tables}


def frame_like(rows: Iterable[Mapping[str, Any]], example: pl.DataFrame) -> pl.DataFrame:
    """Make a frame of plain rows with the columns of the example that the rows have, in its types."""
    rows = list(rows)
    names = [name for name in example.columns if not rows or name in rows[0]]
    return pl.DataFrame(rows, schema={name: example.schema[name] for name in names}, orient="row").select(names)

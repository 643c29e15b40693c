"""The archive: what Bronze no longer keeps, as it was there, compressed harder. Nothing is built from it unasked."""

from __future__ import annotations

from dataclasses import replace

from include.contracts import bronze
from include.contracts.table import Layer, Table, Upkeep


def archive_of(table: Table) -> Table:
    """Return where a table's rows go at the end of their retention."""
    return replace(
        table,
        layer=Layer.ARCHIVE,
        description=f"What {table.full_name} held until its retention had passed, row for row.",
        streamed=False,
        freshness=None,
        retention=None,
        made_from=(table.full_name,),
        upkeep=Upkeep(target_bytes=512 * 1024**2),
    )


TABLES = tuple(archive_of(table) for table in bronze.TABLES if table.retention is not None)

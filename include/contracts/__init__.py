"""The lake's tables and topics, said once. Standard library only; nothing here knows a tool."""

from __future__ import annotations

from include.contracts import archive, bronze, gold, ops, silver
from include.contracts.table import Table
from include.contracts.topics import TOPICS

TABLES: tuple[Table, ...] = (
    *bronze.TABLES,
    *silver.TABLES,
    *gold.TABLES,
    *gold.AUDITS,
    *ops.TABLES,
    *archive.TABLES,
)


def table(full_name: str) -> Table:
    """Return a table by `layer.name`.

    Raises:
        KeyError: If there is no such table.
    """
    for candidate in TABLES:
        if candidate.full_name == full_name:
            return candidate
    raise KeyError(f"no table {full_name}; there are {', '.join(t.full_name for t in TABLES)}")


__all__ = ["TABLES", "TOPICS", "Table", "archive", "bronze", "gold", "ops", "silver", "table"]

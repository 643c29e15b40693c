"""Contracts as Iceberg tables: the only place where `CREATE TABLE` is written."""

from __future__ import annotations

from include.contracts import TABLES
from include.contracts.table import Column, Layer, Table

COMMON = {
    "format-version": "2",
    "write.metadata.compression-codec": "gzip",
    # Every commit writes the whole metadata file again, with the names of this many files before it.
    "write.metadata.previous-versions-max": "10",
    # Ids, times, prices and payloads hardly repeat: numbers that point into 2 MB of them, the default, take more room
    # than zstd makes of the values themselves, and looking for repetition took the stream a sixth of its writing.
    "write.parquet.dict-size-bytes": "65536",
}

STREAMED = {
    # A micro-batch is small and its rows are of one or two days: a shuffle would cost more than it saves.
    "write.distribution-mode": "none",
    "write.spark.fanout.enabled": "true",
    # The stream, its upkeep and the compaction commit to one table, and whoever comes second repeats its commit. Four
    # times, the default, are over in two seconds; these in a minute and a half.
    "commit.retry.num-retries": "10",
    # Nessie turns this off by default, and then no snapshot can be expired; it warns at each load of the table if not.
    "gc.enabled": "true",
    "nessie.gc.no-warning": "true",
}

REPLACED_BY_THE_HOUR = {
    "write.distribution-mode": "hash",
    # An hour's files are dropped whole, so copying rows is rare, and no reader has to apply delete files.
    "write.delete.mode": "copy-on-write",
    "write.update.mode": "copy-on-write",
    "write.merge.mode": "copy-on-write",
}

ARCHIVED = {
    # Written once and hardly read.
    "write.parquet.compression-codec": "zstd",
    "write.parquet.compression-level": "15",
}

UNMEASURED = ("_raw_payload", "_raw_bytes_base64")
"""Columns that nobody filters by: their bounds would only make the manifests larger."""


def create_namespaces(catalog: str) -> list[str]:
    """Return the statements that make the namespaces of all layers; each may be run again."""
    return [f"CREATE NAMESPACE IF NOT EXISTS {catalog}.{layer}" for layer in Layer]


def create_table(table: Table, catalog: str) -> str:
    """Return the statement that makes one table with its comments and properties; it may be run again."""
    columns = ",\n".join(f"  {_column(column)}" for column in table.columns)
    properties = ",\n".join(f"  '{key}' = {_text(value)}" for key, value in table_properties(table).items())
    clauses = [
        f"CREATE TABLE IF NOT EXISTS {catalog}.{table.full_name} (\n{columns}\n)",
        "USING iceberg",
        f"PARTITIONED BY ({', '.join(table.partitioned_by)})" if table.partitioned_by else "",
        f"COMMENT {_text(table.description)}",
        f"TBLPROPERTIES (\n{properties}\n)",
    ]
    return "\n".join(clause for clause in clauses if clause)


def create_statements(table: Table, catalog: str) -> list[str]:
    """Return all that makes one table, in order: the table itself, then how its rows lie in files."""
    statements = [create_table(table, catalog)]
    if table.sorted_by:
        order = ", ".join(table.sorted_by)
        statements.append(
            f"ALTER TABLE {catalog}.{table.full_name} WRITE DISTRIBUTED BY PARTITION LOCALLY ORDERED BY {order}"
        )
    return statements


def create_all(catalog: str) -> list[str]:
    """Return every statement of an empty lake, in the order in which they run."""
    tables = [statement for table in TABLES for statement in create_statements(table, catalog)]
    return [*create_namespaces(catalog), *tables]


def table_properties(table: Table) -> dict[str, str]:
    """Return the Iceberg properties of a table: how it is written follows from how it is fed."""
    archived = ARCHIVED if table.layer is Layer.ARCHIVE else {}
    by_use = STREAMED if table.streamed else REPLACED_BY_THE_HOUR | archived
    metrics = {f"write.metadata.metrics.column.{name}": "none" for name in UNMEASURED if name in table.column_names}
    return {**COMMON, **by_use, **metrics}


def _column(column: Column) -> str:
    meaning = column.description if column.unit is None else f"{column.description} Unit: {column.unit}."
    null = " NOT NULL" if column.required else ""
    return f"{column.name} {column.type}{null} COMMENT {_text(meaning)}"


def _text(value: str) -> str:
    """Quote a Spark SQL string: it escapes with a backslash, a doubled quote would vanish."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"

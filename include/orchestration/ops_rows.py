"""Writing what the pipeline says about itself: on the branch that readers see, whatever becomes of the hour."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from include.contracts.table import Table
from include.orchestration.hours import Hour
from include.settings import Settings

Rows = Sequence[Sequence[object]]
"""A value for each column, in the table's order. Moments as text: the driver would drop their time zone."""


def insert(settings: Settings, table: Table, rows: Rows) -> None:
    """Append rows to a table in one commit, through the Thrift server.

    Raises:
        Exception: Whatever PyHive raises when the server does not answer or refuses.
    """
    _execute(settings, f"insert into {settings.catalog}.{table.full_name} {_given(table, rows)}", rows)


def replace(settings: Settings, table: Table, rows: Rows, hour: Hour | None = None) -> None:
    """Write rows in one commit in place of those that have the same grain; doing it again changes nothing.

    Args:
        rows: At least one.
        hour: They become all rows of this hour: what else the table has of it is deleted, and no other hour is read.

    Raises:
        Exception: Whatever PyHive raises when the server does not answer or refuses.
    """
    name, grain = f"{settings.catalog}.{table.full_name}", ", ".join(table.grain)
    columns = ", ".join(column if column in table.grain else f"fresh.{column}" for column in table.column_names)
    others = ", ".join(f"{column} = given.{column}" for column in table.column_names if column not in table.grain)
    same = [f"standing.{column} = given.{column}" for column in table.grain]
    replaced = _within("", table, hour) if hour else "false"
    statement = f"""
        merge into {name} as standing
        using (
            select {columns}, fresh.is_fresh
            from (select *, true as is_fresh from ({_given(table, rows)})) as fresh
            full outer join (select {grain} from {name} where {replaced}) as replaced using ({grain})
        ) as given
        on {" and ".join([_within("standing.", table, hour), *same] if hour else same)}
        when matched and given.is_fresh is null then delete
        when matched then update set {others}
        when not matched then insert ({", ".join(table.column_names)})
            values ({", ".join(f"given.{column}" for column in table.column_names)})
    """
    _execute(settings, statement, rows)


def _within(row: str, table: Table, hour: Hour) -> str:
    """Say which rows are the hour's, in literals: Iceberg skips files only by bounds that it can read."""
    low, high = (f"timestamp '{moment:%Y-%m-%d %H:%M:%S}Z'" for moment in (hour.start, hour.end))
    return f"{row}{table.hour_column} >= {low} and {row}{table.hour_column} < {high}"


def _given(table: Table, rows: Rows) -> str:
    """Write rows as a query whose columns are the table's."""
    row = "(" + ", ".join("%s" for _ in table.column_names) + ")"
    columns = ", ".join(f"cast({column.name} as {column.type}) as {column.name}" for column in table.columns)
    return f"select {columns} from values {', '.join(row for _ in rows)} as given ({', '.join(table.column_names)})"


def _execute(settings: Settings, statement: str, rows: Rows) -> None:
    from pyhive import hive

    # It logs each statement whole, at the level of what matters.
    logging.getLogger("pyhive").setLevel(logging.WARNING)
    # Without this prefix Spark's Thrift server ignores the setting.
    session = {f"set:hiveconf:spark.sql.catalog.{settings.catalog}.ref": settings.branch}
    with (
        hive.connect(
            host=settings.thrift.host, port=settings.thrift.port, username="lake", configuration=session
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement, tuple(value for values in rows for value in values))

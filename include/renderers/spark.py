"""Contracts as Spark types and selections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from include.contracts.table import Kind, Table, Type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyspark.sql import Column, DataFrame

SIMPLE: dict[Kind, T.DataType] = {
    Kind.STRING: T.StringType(),
    Kind.INT: T.IntegerType(),
    Kind.LONG: T.LongType(),
    Kind.BOOLEAN: T.BooleanType(),
    Kind.TIMESTAMP: T.TimestampType(),
    Kind.DATE: T.DateType(),
}


def data_type(of: Type) -> T.DataType:
    """Return Spark's type of a contract's type."""
    if of.kind is Kind.DECIMAL:
        return T.DecimalType(of.precision, of.scale)
    return SIMPLE[of.kind]


def struct_type(table: Table, only: Iterable[str] | None = None) -> T.StructType:
    """Return a table's schema in Spark's words.

    Args:
        table: The contract.
        only: Names of the columns to take; all of them if None.
    """
    names = table.column_names if only is None else tuple(only)
    columns = [table.column(name) for name in names]
    return T.StructType([T.StructField(c.name, data_type(c.type), nullable=not c.required) for c in columns])


def select_columns(frame: DataFrame, table: Table) -> DataFrame:
    """Return exactly the table's columns, in its order and of its types; further columns fall away."""
    return frame.select(*(F.col(c.name).cast(data_type(c.type)).alias(c.name) for c in table.columns))


def cast_to(value: Column, table: Table, column: str) -> Column:
    """Return a value as the type that a contract's column has; what does not fit becomes null."""
    return value.cast(data_type(table.column(column).type))

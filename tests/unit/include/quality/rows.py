"""Small literal rows, and the Arrow frames that the gates would read them as."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from include.contracts.table import Kind, Table, Type
from include.quality.judgement import Outcome, Verdict

NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)
PRODUCT = {"venue": "coinbase", "market": "spot", "product_id": "BTC-USD"}

ARROW = {
    Kind.STRING: pa.string(),
    Kind.INT: pa.int32(),
    Kind.LONG: pa.int64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Kind.DATE: pa.date32(),
}
FILLED: dict[Kind, Any] = {
    Kind.STRING: "x",
    Kind.INT: 0,
    Kind.LONG: 0,
    Kind.BOOLEAN: False,
    Kind.TIMESTAMP: NINE,
    Kind.DATE: NINE.date(),
    Kind.DECIMAL: Decimal(1),
}


def frame(table: Table, *rows: Mapping[str, Any]) -> pa.Table:
    """Give a table's frame; columns that a row does not name are filled, a product's with BTC-USD."""
    columns = {
        column.name: pa.array(
            [({column.name: FILLED[column.type.kind]} | PRODUCT | dict(row))[column.name] for row in rows],
            type=_arrow(column.type),
        )
        for column in table.columns
    }
    return pa.table(columns)


def broken(verdicts: list[Verdict]) -> set[tuple[str, str]]:
    """Name the rules that do not hold: table and rule id."""
    return {(verdict.table, verdict.rule_id) for verdict in verdicts if verdict.outcome is not Outcome.PASS}


def _arrow(type_: Type) -> pa.DataType:
    return pa.decimal128(type_.precision, type_.scale) if type_.kind is Kind.DECIMAL else ARROW[type_.kind]

"""Contracts as dbt's YAML: Silver as a source, Gold as models whose columns are enforced and whose rules are tests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from include.contracts import gold, silver
from include.contracts.table import HOUR, Column, Layer, Table

Yaml: TypeAlias = str | int | bool | Sequence["Yaml"] | Mapping[str, "Yaml"]

MODELS = Path("dbt_project/models")

CATALOG = "lake"
"""The catalog's name in Spark, which dbt writes as part of the schema."""

HEAD = "# Written by `python -m include.renderers` from include/contracts; change it there.\nversion: 2\n"


def files() -> dict[Path, str]:
    """Return every rendered file of the dbt project, by its path in the checkout."""
    sources = {MODELS / "staging" / "_sources.yml": _document({"sources": [_source(Layer.SILVER, silver.TABLES)]})}
    by_folder = groupby(sorted((*gold.VIEWS, *gold.TABLES), key=_folder), key=_folder)
    contracts = {
        MODELS / folder / "_contracts.yml": _document({"models": [_model(table) for table in tables]})
        for folder, tables in by_folder
    }
    return {**sources, **contracts}


def _folder(table: Table) -> str:
    """Return the folder of a model: its name's prefix says how far the rows have come."""
    return {"stg": "staging", "int": "intermediate"}.get(table.name.partition("_")[0], "marts")


def _source(layer: Layer, tables: Sequence[Table]) -> dict[str, Yaml]:
    return {
        "name": layer.value,
        "schema": f"{CATALOG}.{layer}",
        "tables": [
            {"name": table.name, "description": table.description, "columns": [_column(c) for c in table.columns]}
            for table in tables
        ],
    }


def _model(table: Table) -> dict[str, Yaml]:
    model: dict[str, Yaml] = {
        "name": table.name,
        "description": table.description,
        "config": {
            "contract": {"enforced": True},
            "unique_key": table.grain,
            "meta": {"owner": table.owner, **_window(table)},
        },
        "columns": [_column(column) for column in table.columns],
    }
    if table in gold.TABLES:
        # A view has no rows of its own: those of Silver have passed their gate.
        model["data_tests"] = _data_tests(table)
    return model


def _column(column: Column) -> dict[str, Yaml]:
    unit: dict[str, Yaml] = {} if column.unit is None else {"config": {"meta": {"unit": column.unit}}}
    return {"name": column.name, "data_type": str(column.type), "description": column.description, **unit}


def _data_tests(table: Table) -> list[Yaml]:
    required: list[Yaml] = [
        {"id": f"{column.name}_present", "condition": f"{column.name} IS NOT NULL"}
        for column in table.columns
        if column.required
    ]
    rules: list[Yaml] = [{"id": rule.id, "condition": rule.condition} for rule in table.rules]
    return [
        {
            "keeps_contract": {
                "name": f"{table.name}_keeps_its_contract",
                "description": "A row is there once, required columns are there, and every row keeps every rule.",
                "arguments": {"grain": table.grain, "promises": [*required, *rules], **_window(table)},
            }
        }
    ]


def _window(table: Table) -> dict[str, Yaml]:
    """Return which rows of a table an hour's run replaces: those of the hours around it, or all (no window)."""
    if table.hour_column is None:
        return {}
    kind = table.column(table.hour_column).type.kind
    return {"window": {"column": table.hour_column, "type": kind.value, "hours": table.window // HOUR}}


def _document(content: Mapping[str, Yaml]) -> str:
    return HEAD + "\n".join(_lines(content)) + "\n"


def _lines(value: Yaml) -> Iterator[str]:
    """Write a value as lines of YAML: blocks down to lists of plain values, which are JSON, as YAML allows."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, Mapping) or _holds_mappings(item):
                yield f"{key}:"
                yield from (f"  {line}" for line in _lines(item))
            else:
                yield f"{key}: {json.dumps(item, ensure_ascii=False)}"
    elif isinstance(value, Sequence):
        for item in value:
            first, *others = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in others)


def _holds_mappings(value: Yaml) -> bool:
    return isinstance(value, Sequence) and any(isinstance(item, Mapping) for item in value)

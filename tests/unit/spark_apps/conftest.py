"""A small Spark, started once, and Bronze rows by their differences from a plain trade."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from include.contracts.table import Table
from include.renderers.spark import struct_type

NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)

Frame = Callable[..., DataFrame]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pyspark leave the sockets of its `collect` to the garbage collector, as it does."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = (
        SparkSession.builder.master("local[1]")
        .appName("unit-tests")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "512m")
        .config("spark.driver.extraJavaOptions", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.sql.codegen.wholeStage", "false")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture(scope="session")
def rows_of(spark: SparkSession) -> Frame:
    """Make a frame of a contract's columns from dicts; what a dict leaves out is null."""

    def make(table: Table, *rows: dict[str, Any]) -> DataFrame:
        schema = struct_type(table)
        for field in schema.fields:
            field.nullable = True
        return spark.createDataFrame([tuple(row.get(name) for name in table.column_names) for row in rows], schema)

    return make


def as_dicts(frame: DataFrame, *names: str) -> list[dict[str, Any]]:
    """Collect some columns, timestamps as UTC text, rows in a fixed order."""
    chosen = frame.select(*names) if names else frame
    texts = [f"cast({n} as string) as {n}" if t.startswith("timestamp") else n for n, t in chosen.dtypes]
    return sorted((row.asDict() for row in chosen.selectExpr(*texts).collect()), key=str)

"""A small Spark, started once, and Bronze rows by their differences from a plain trade."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from include.contracts.table import Table
from include.renderers.iceberg import create_namespaces, create_statements
from include.renderers.spark import struct_type
from include.settings import Settings

NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)

Frame = Callable[..., DataFrame]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pyspark leave the sockets of its `collect` to the garbage collector, as it does."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Spark with Iceberg, whose tables lie in a folder; there are no branches."""
    jars = Settings.load().tools_dir / "jars" / "spark"
    assert list(jars.glob("iceberg-spark-runtime-*.jar")), f"no Iceberg in {jars}; run `python -m stack tools`"
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
        .config("spark.driver.extraClassPath", f"{jars}/*")
        .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
        .config("spark.sql.catalog.lake", "org.apache.iceberg.spark.SparkCatalog")
        .config("spark.sql.catalog.lake.type", "hadoop")
        .config("spark.sql.catalog.lake.warehouse", str(tmp_path_factory.mktemp("warehouse")))
        .config("spark.sql.catalog.lake.cache-enabled", "false")
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


@pytest.fixture
def tables(spark: SparkSession) -> Iterator[Callable[..., None]]:
    """Make tables of contracts, which are gone after the test."""
    made: list[Table] = []

    def make(*contracts: Table) -> None:
        for contract in contracts:
            for statement in (*create_namespaces("lake"), *create_statements(contract, "lake")):
                spark.sql(statement)
            made.append(contract)

    yield make
    for contract in made:
        spark.sql(f"drop table lake.{contract.full_name}")


@pytest.fixture
def commit(rows_of: Frame) -> Callable[..., None]:
    """Append rows in one commit."""

    def append(table: Table, *rows: dict[str, Any]) -> None:
        rows_of(table, *rows).writeTo(f"lake.{table.full_name}").append()

    return append


def received(offset: int, at: datetime) -> dict[str, Any]:
    """Return a plain trade as Bronze has it, by its offset and arrival."""
    return {
        "_ingested_at": at,
        "_raw_payload": f"{{{offset}}}",
        "_kafka_topic": "coinbase.raw.trades",
        "_kafka_partition": 0,
        "_kafka_offset": offset,
        "_kafka_time": at,
        "_source": "ws",
        "_frame_index": 0,
        "venue": "coinbase",
        "market": "spot",
        "product_id": "BTC-USD",
        "trade_id": str(offset),
        "sequence": offset,
    }


def traded(ref: int, at: datetime, product: str = "BTC-USD") -> dict[str, Any]:
    """Return a plain trade as Silver has it."""
    return {
        "venue": "coinbase",
        "market": "spot",
        "product_id": product,
        "trade_ref": str(ref),
        "_frame_index": 0,
        "price": Decimal(1),
        "size": Decimal(1),
        "side": "buy",
        "trade_time": at,
        "ingested_at": at,
        "_is_late_arrival": False,
        "_source_latency_ms": 0,
    }


def as_dicts(frame: DataFrame, *names: str) -> list[dict[str, Any]]:
    """Collect some columns, timestamps as UTC text, rows in a fixed order."""
    chosen = frame.select(*names) if names else frame
    texts = [f"cast({n} as string) as {n}" if t.startswith("timestamp") else n for n, t in chosen.dtypes]
    return sorted((row.asDict() for row in chosen.selectExpr(*texts).collect()), key=str)

import pytest

from include.contracts import TABLES, bronze, gold, silver
from include.contracts.table import STRING, TIMESTAMP, Column, Layer, Table
from include.renderers import iceberg

pytestmark = pytest.mark.unit

PLAIN = Table(
    layer=Layer.SILVER,
    name="things",
    description="What it's about.",
    owner="nobody",
    columns=(
        Column("seen_time", TIMESTAMP, "When."),
        Column("weight", STRING, r"The scale's word, not C:\x.", unit="kg", required=False),
    ),
    grain=("seen_time",),
    partitioned_by=("days(seen_time)",),
)


def test_a_table_is_created_with_its_columns_comments_and_partitions():
    statement = iceberg.create_table(PLAIN, "lake")

    assert statement.startswith(
        "CREATE TABLE IF NOT EXISTS lake.silver.things (\n"
        "  seen_time timestamp NOT NULL COMMENT 'When.',\n"
        "  weight string COMMENT 'The scale\\'s word, not C:\\\\x. Unit: kg.'\n"
        ")\n"
        "USING iceberg\n"
        "PARTITIONED BY (days(seen_time))\n"
        "COMMENT 'What it\\'s about.'\n"
        "TBLPROPERTIES (\n"
    )


def test_a_table_without_partitions_says_nothing_of_them():
    assert "PARTITIONED" not in iceberg.create_table(gold.PRICE_LATEST, "lake")


def test_a_sorted_table_is_sorted_inside_its_partitions():
    assert iceberg.create_statements(silver.TRADES, "lake")[1:] == [
        "ALTER TABLE lake.silver.trades WRITE DISTRIBUTED BY PARTITION LOCALLY ORDERED BY product_id, trade_time"
    ]


def test_a_streamed_table_is_written_without_a_shuffle_and_its_snapshots_can_expire():
    properties = iceberg.table_properties(bronze.TRADES)

    assert properties["write.distribution-mode"] == "none"
    assert properties["write.spark.fanout.enabled"] == "true"
    assert properties["gc.enabled"] == "true"


def test_every_table_has_small_dictionaries_whoever_writes_it():
    sizes = {iceberg.table_properties(table)["write.parquet.dict-size-bytes"] for table in TABLES}

    assert sizes == {str(64 * 1024)}


def test_only_streamed_tables_let_snapshots_expire_for_expiry_sees_one_branch_only():
    assert [t for t in TABLES if not t.streamed and "gc.enabled" in iceberg.table_properties(t)] == []


def test_an_empty_lake_gets_its_namespaces_first_and_then_each_table_once():
    statements = iceberg.create_all("lake")

    assert statements[: len(Layer)] == [f"CREATE NAMESPACE IF NOT EXISTS lake.{layer}" for layer in Layer]
    created = [statement.split()[5] for statement in statements if statement.startswith("CREATE TABLE")]
    assert created == [f"lake.{table.full_name}" for table in TABLES]

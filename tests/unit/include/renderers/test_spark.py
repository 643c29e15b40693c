import pytest
from pyspark.sql import types as T

from include.contracts import TABLES, silver
from include.renderers.spark import struct_type

pytestmark = pytest.mark.unit


def test_a_schema_has_the_contracts_columns_types_and_nulls():
    schema = struct_type(silver.TRADES, only=("trade_id", "price", "trade_time"))

    assert schema == T.StructType(
        [
            T.StructField("trade_id", T.LongType(), nullable=True),
            T.StructField("price", T.DecimalType(18, 8), nullable=False),
            T.StructField("trade_time", T.TimestampType(), nullable=False),
        ]
    )


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.full_name)
def test_every_contract_has_a_schema_whose_types_sql_spells_the_same(table):
    assert [f"{f.name} {f.dataType.simpleString()}" for f in struct_type(table)] == [
        f"{column.name} {column.type}" for column in table.columns
    ]

"""Go once through what the lake's Spark processes do, with a handful of rows in a folder and no service.

    spark-submit --conf spark.sql.catalog.<catalog>.type=hadoop … spark_apps/rehearsal/job.py

Java notes which classes that takes, for an archive from which later processes have them at hand. What a rehearsal
leaves out still works, and is read from its jar as ever.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from include.contracts import bronze, gold, silver
from include.contracts.table import Kind, Table
from include.renderers.iceberg import create_all
from include.renderers.spark import struct_type
from include.settings import Settings
from spark_apps.bronze_to_silver.job import Job, Lake, build

HOUR = datetime(2000, 1, 1, tzinfo=UTC)
NOWHERE = "127.0.0.1:9"
"""The discard port, at which nothing listens: clients are built, and refused at once."""
EXAMPLES: dict[Kind, str] = {
    Kind.STRING: "'1'",
    Kind.INT: "1",
    Kind.LONG: "1L",
    Kind.BOOLEAN: "true",
    Kind.DECIMAL: "1",
    Kind.TIMESTAMP: f"timestamp '{HOUR:%Y-%m-%d %H:%M:%S}+00:00'",
    Kind.DATE: f"date '{HOUR:%Y-%m-%d}'",
}
OF_A_TRADE = {"time": f"'{HOUR:%Y-%m-%dT%H:%M:%S}Z'", "side": "'buy'", "venue": "'coinbase'", "market": "'spot'"}


def rehearse(spark: SparkSession, settings: Settings) -> None:
    """Make the tables, stream into Bronze, build an hour of Silver, and merge and read Gold."""
    catalog = settings.catalog
    for statement in create_all(catalog):
        spark.sql(statement)
    for table in (bronze.TRADES, bronze.INGESTION_PROGRESS, bronze.INGESTION_EVENTS):
        rows(spark, table).writeTo(f"{catalog}.{table.full_name}").append()
    stream(spark, catalog)
    job = Job(HOUR, expected=settings.followed, late_after=timedelta(minutes=5), may_shrink=True)
    for _again in range(2):
        build(Lake(spark, catalog), job)
    merge(spark, catalog)


def rows(spark: SparkSession, table: Table) -> DataFrame:
    """Return a row of a table, of its types and without a meaning."""
    values = {column.name: EXAMPLES[column.type.kind] for column in table.columns} | {
        name: value for name, value in OF_A_TRADE.items() if name in table.column_names
    }
    types = {field.name: field.dataType.simpleString() for field in struct_type(table)}
    return spark.sql("select " + ", ".join(f"cast({values[name]} as {types[name]}) as {name}" for name in values))


def stream(spark: SparkSession, catalog: str) -> None:
    """Append what one table has to another as the stream does, batch after batch."""
    source = spark.readStream.table(f"{catalog}.{bronze.TRADES.full_name}")
    query = source.writeStream.format("iceberg").trigger(availableNow=True)
    place = spark.conf.get(f"spark.sql.catalog.{catalog}.warehouse")
    query.option("checkpointLocation", f"{place}/checkpoint").option("fanout-enabled", "true").toTable(
        f"{catalog}.{bronze.TRADES.full_name}"
    ).awaitTermination()


def merge(spark: SparkSession, catalog: str) -> None:
    """Merge an hour into Gold as dbt's models do, with windows, decimals and a view between."""
    target, trades = f"{catalog}.{gold.OHLCV_1M.full_name}", f"{catalog}.{silver.TRADES.full_name}"
    rows(spark, gold.OHLCV_1M).createOrReplaceTempView("given")
    spark.sql("describe query select * from given").collect()
    spark.sql(
        f"select venue, first_value(price) over (partition by product_id order by trade_time, trade_ref) as open, "
        f"sum(price * size) over (partition by date_trunc('minute', trade_time)) as quote from {trades} "
        f"where trade_time >= {EXAMPLES[Kind.TIMESTAMP]}"
    ).collect()
    names = gold.OHLCV_1M.column_names
    for _again in range(2):
        spark.sql(
            f"merge into {target} as standing using (select given.*, n is null as is_fresh from given left join "
            f"(select count(*) as n, max(window_start) as window_start from {target}) using (window_start)) as given "
            f"on standing.window_start = given.window_start and standing.window_start >= {EXAMPLES[Kind.TIMESTAMP]} "
            f"when matched and given.is_fresh is null then delete "
            f"when matched then update set {', '.join(f'{name} = given.{name}' for name in names)} "
            f"when not matched then insert ({', '.join(names)}) values ({', '.join(f'given.{name}' for name in names)})"
        )
    spark.sql(f"delete from {target} where window_start >= {EXAMPLES[Kind.TIMESTAMP]}")
    spark.sql(f"select * from {target}.snapshots").collect()


def knock(spark: SparkSession) -> None:
    """Build the clients of the services; each is refused."""
    jvm: Any = spark._jvm
    store = jvm.org.apache.iceberg.aws.s3.S3FileIO()
    store.initialize(
        {
            "s3.endpoint": f"http://{NOWHERE}",
            "s3.path-style-access": "true",
            "s3.access-key-id": "none",
            "s3.secret-access-key": "none",
            "client.region": "us-east-1",
        }
    )
    kafka = {
        "kafka.bootstrap.servers": NOWHERE,
        "subscribe": "none",
        "kafka.default.api.timeout.ms": "500",
        "kafka.request.timeout.ms": "400",
    }
    for ask in (
        lambda: store.newInputFile("s3://none/none").exists(),
        lambda: spark.sql("show namespaces in nessie").collect(),
        lambda: spark.read.format("kafka").options(**kafka).load().collect(),
    ):
        try:
            ask()
        except (Py4JJavaError, PySparkException):
            continue
        raise RuntimeError(f"something listens at {NOWHERE}")


def main() -> int:
    """Rehearse; return the exit code."""
    spark = SparkSession.builder.appName("rehearsal").getOrCreate()
    rehearse(spark, Settings.load())
    knock(spark)
    spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

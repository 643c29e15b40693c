"""The streaming job that one would write first: `from_json_to_iceberg.py KAFKA TOPIC TABLE CHECKPOINT DAYS`.

Kafka's value as a string, its fields by a struct's schema, all of them into an Iceberg table, every 10 s. What it
cannot read becomes a row of nulls, where a record came from is not kept, and nobody is told how far it is. DAYS is the
column by whose days the table is partitioned, or empty.
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

KAFKA, TOPIC, TABLE, CHECKPOINT, DAYS = sys.argv[1:]
MATCH = (
    "type string, trade_id long, maker_order_id string, taker_order_id string, side string, size string, price string, "
    f"product_id string, sequence long, time {'timestamp' if DAYS else 'string'}"
)

spark = SparkSession.builder.appName("from-json-to-iceberg").getOrCreate()
spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {TABLE.rpartition('.')[0]}")
# By hand, and not from the contracts: it is a stranger's table, made as one would make it first.
spark.sql(f"CREATE TABLE {TABLE} ({MATCH}) USING iceberg {DAYS and f'PARTITIONED BY (days({DAYS}))'}")
(
    spark.readStream.format("kafka")
    .option("kafka.bootstrap.servers", KAFKA)
    .option("subscribe", TOPIC)
    .option("startingOffsets", "earliest")
    .load()
    .select(F.from_json(F.col("value").cast("string"), MATCH).alias("match"))
    .select("match.*")
    .writeStream.format("iceberg")
    .outputMode("append")
    .trigger(processingTime="10 seconds")
    .option("checkpointLocation", CHECKPOINT)
    .toTable(TABLE)
    .awaitTermination()
)

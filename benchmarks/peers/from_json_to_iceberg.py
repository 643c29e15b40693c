"""The streaming job that one would write first: `from_json_to_iceberg.py KAFKA TOPIC TABLE CHECKPOINT KEPT DAYS`.

Kafka's value as a string, its fields by a struct's schema, into an Iceberg table, every 10 s. What it cannot read
becomes a row of nulls, and nobody is told how far it is. KEPT is `fields` for those of the frame alone, or `all` for
what Bronze keeps beside them: the frame as received, when that was, and where in Kafka it is. DAYS is the column by
whose days the table is partitioned, or empty.
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

KAFKA, TOPIC, TABLE, CHECKPOINT, KEPT, DAYS = sys.argv[1:]
MATCH = (
    "type string, trade_id long, maker_order_id string, taker_order_id string, side string, size string, price string, "
    f"product_id string, sequence long, time {'timestamp' if DAYS == 'time' else 'string'}"
)
spark = SparkSession.builder.appName("from-json-to-iceberg").getOrCreate()

BESIDE = {
    "payload": (F.col("value").cast("string"), "string"),
    "received_at": (
        F.timestamp_micros(F.col("headers")[0]["value"].cast("string").cast("long")),
        "timestamp",
    ),
    "kafka_topic": (F.col("topic"), "string"),
    "kafka_partition": (F.col("partition"), "int"),
    "kafka_offset": (F.col("offset"), "long"),
    "kafka_time": (F.col("timestamp"), "timestamp"),
}
beside = BESIDE if KEPT == "all" else {}
columns = ", ".join([*(f"{name} {kind}" for name, (_, kind) in beside.items()), MATCH])
spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {TABLE.rpartition('.')[0]}")
# By hand, and not from the contracts: it is a stranger's table, made as one would make it first.
spark.sql(f"CREATE TABLE {TABLE} ({columns}) USING iceberg {DAYS and f'PARTITIONED BY (days({DAYS}))'}")
(
    spark.readStream.format("kafka")
    .option("kafka.bootstrap.servers", KAFKA)
    .option("subscribe", TOPIC)
    .option("startingOffsets", "earliest")
    .option("includeHeaders", "true")
    .load()
    .select(
        *(value.alias(name) for name, (value, _) in beside.items()),
        F.from_json(F.col("value").cast("string"), MATCH).alias("match"),
    )
    .select(*beside, "match.*")
    .writeStream.format("iceberg")
    .outputMode("append")
    .trigger(processingTime="10 seconds")
    .option("checkpointLocation", CHECKPOINT)
    .toTable(TABLE)
    .awaitTermination()
)

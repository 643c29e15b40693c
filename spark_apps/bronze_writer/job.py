"""The Bronze writer: one Spark application, one streaming query per streamed table, for as long as the lake lives.

A query appends with Iceberg's own sink, which looks for the query's last batch in the table's snapshots and so never
appends a batch twice. The queries share as many cores as `include.scale` says. SIGTERM ends the writer with exit code 0
after the batches under way. As soon as any query fails it ends with 1 and the reason in the log, for its supervisor to
start it again.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from include import scale
from include.contracts import TOPICS, bronze
from include.contracts.table import Table
from include.contracts.topics import topics_of
from include.lease import Lease, LeaseTakenError
from include.logs import log_as_json
from include.settings import Settings
from spark_apps.bronze_writer import offsets
from spark_apps.bronze_writer.checkpoints import Checkpoint
from spark_apps.bronze_writer.letters import GROUP as LETTERS_GROUP
from spark_apps.bronze_writer.letters import Batch, Letters
from spark_apps.bronze_writer.metrics import WriterMetrics, observed
from spark_apps.bronze_writer.reports import Report, reporting_to
from spark_apps.bronze_writer.transforms import accepted, dead_letters, judged

log = logging.getLogger("bronze_writer")

MAX_RECORDS_PER_BATCH = 100_000
"""Bounds what a batch holds in memory when the query catches up: some 50 MB of frames."""

COUNTS = "records"
"""The name under which a query's progress has what was counted in its batch."""

TABLES = {table.full_name: table for table in bronze.TABLES}

STOP_WITHIN = timedelta(seconds=20)
"""How long a stop waits for the batches under way; a longer one is cut off, and done again at the next start."""


@dataclass(frozen=True, slots=True)
class Feed:
    """One query.

    Args:
        topics: What it reads.
        table: Where it appends; the table's full name is also the query's, and that of its consumer group.
        every: Time between two commits.
    """

    topics: tuple[str, ...]
    table: Table
    every: timedelta


def feeds(settings: Settings) -> list[Feed]:
    """Return the queries: one for each table that topics fill."""
    often, seldom = settings.bronze_interval, settings.bronze_quiet_interval
    quiet = {topic.consumer_group for topic in TOPICS if not topic.is_awaited}
    return [
        Feed(
            tuple(topic.name for topic in topics_of(table.full_name)),
            table,
            seldom if table.full_name in quiet else often,
        )
        for table in bronze.TABLES
    ]


class BatchTeller:
    """Tells consumer groups and Prometheus each batch that is in its table, and has what it refused seen to."""

    def __init__(self, groups: offsets.GroupOffsets, letters: Letters, metrics: WriterMetrics) -> None:
        self._groups = groups
        self._letters = letters
        self._metrics = metrics

    def started(self, query: UUID, name: str) -> None:
        """Say which query this is: its id is in the snapshots that it writes."""
        log.info("query started", extra={"table": name, "query_id": str(query)})

    def committed(self, batch: Report) -> None:
        """Take note of a batch that is in its table."""
        source = batch.source
        self._groups.tell(batch.name, source.end)
        if counts := batch.observed_metrics.get(COUNTS):
            self._letters.settle(Batch(TABLES[batch.name], source.start, source.end, counts["refused"]))
        self._metrics.take(batch)
        log.info(
            "batch committed",
            extra={
                "table": batch.name,
                "batch": batch.batch_id,
                "records": batch.num_input_rows,
                "ms": batch.duration_ms["triggerExecution"],
            },
        )

    def idle(self, query: UUID) -> None:
        """Nothing is new in Kafka."""
        self._metrics.at_work(query)


class Stopper:
    """Ends the queries between two batches when the process is told to end.

    spark-submit is a Java process with this Python as its child, and the signal may come to either. Java would cut the
    batches off in its shutdown hooks, so its handler is replaced as well.
    """

    def __init__(self, spark: SparkSession) -> None:
        self._queries: list[StreamingQuery] = []
        self._thread = threading.Thread(target=self._stop, name="stopper")
        self._lock = threading.Lock()
        self.was_told = False
        signal.signal(signal.SIGTERM, lambda *_: self.tell())
        java = spark.sparkContext._jvm.sun.misc  # type: ignore[union-attr]
        java.Signal.handle(java.Signal("TERM"), self)

    def watch(self, query: StreamingQuery) -> None:
        """Have a query stopped as well."""
        self._queries.append(query)

    def tell(self) -> None:
        """Begin to stop; returns at once."""
        with self._lock:
            if not self.was_told:
                self.was_told = True
                self._thread.start()

    def join(self) -> None:
        """Wait until all queries are stopped."""
        self._thread.join()

    def handle(self, signal: object) -> None:
        """Take the signal that came to Java (`sun.misc.SignalHandler`)."""
        self.tell()

    def _stop(self) -> None:
        deadline = time.monotonic() + STOP_WITHIN.total_seconds()
        for query in self._queries:
            while query.isActive and query.status["isTriggerActive"] and time.monotonic() < deadline:
                query.awaitTermination(1)
            query.stop()

    class Java:
        """Makes the object a Java one (py4j's convention)."""

        implements = ("sun.misc.SignalHandler",)


class Writer:
    """Starts the queries of one Spark application.

    Args:
        partitions: How many each topic has.
        cores: How many tasks write a batch, at most.
    """

    def __init__(
        self, spark: SparkSession, settings: Settings, partitions: Mapping[str, int], letters: Letters, cores: int
    ) -> None:
        self._spark = spark
        self._settings = settings
        self._partitions = partitions
        self._letters = letters
        self._cores = cores

    def checkpoint(self, table: Table) -> Checkpoint:
        """Return the folder where Spark keeps how far the table's query is."""
        return Checkpoint.of(self._settings, table.name)

    def forget_torn_checkpoint(self, table: Table) -> None:
        """Remove a checkpoint of which a part is lost, so that the query begins anew, after the rows of its table.

        With what is left, Spark might number its batches from 0 again under the old query's id, and Iceberg would take
        them for ones that it has; or give an unfinished batch to a new query, which would append it a second time.
        """
        checkpoint = self.checkpoint(table)
        if offsets.is_torn(checkpoint):
            log.warning("a part of the checkpoint is lost, beginning a new one", extra={"table": table.full_name})
            checkpoint.remove()

    def forget_other_checkpoint(self, table: Table) -> None:
        """Remove the checkpoint of the place that is not chosen any more.

        The query begins anew after the rows of its table. Chosen again, what lies there would be behind these, and all
        since would be appended a second time.
        """
        left = Checkpoint.left_by(self._settings, table.name)
        if left.exists():
            log.warning("removing the checkpoint of another place", extra={"location": left.location})
            left.remove()

    def reached(self, feed: Feed) -> offsets.Offsets | None:
        """Return how far a table is, by its query's checkpoint or else by its rows; None if nothing says."""
        reached = offsets.of_checkpoint(self.checkpoint(feed.table)) or self._after_rows(feed)
        # Letters may all be of other topics than their query reads.
        return offsets.known(reached) or None if reached else None

    def start(self, feed: Feed) -> StreamingQuery:
        """Start a query where its checkpoint ended, or without one after the rows that its table has."""
        kafka = self._read(feed)
        name = self._name(feed.table)
        if feed.table is bronze.DEAD_LETTERS:
            letters = self._query(feed, dead_letters(kafka, tables=()))
            return letters.foreachBatch(lambda batch, _: self._letters.append(batch)).start()
        counted = judged(kafka, feed.table).observe(COUNTS, F.count("refusal").alias("refused"))
        rows = accepted(counted, feed.table)
        if feed.table is bronze.TRADES:
            rows = observed(rows)
        # The rows' columns are required by the contract, which `readable` has seen to, but Spark cannot know it.
        return self._query(feed, rows).format("iceberg").option("check-nullability", "false").toTable(name)

    def _read(self, feed: Feed) -> DataFrame:
        return (
            self._spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", self._settings.kafka.address)
            .option("subscribe", ",".join(feed.topics))
            .option("startingOffsets", self._first_offsets(feed))
            .option("maxOffsetsPerTrigger", MAX_RECORDS_PER_BATCH)
            .option("failOnDataLoss", "true")
            .option("includeHeaders", "true")
            .load()
        )

    def _query(self, feed: Feed, rows: DataFrame) -> DataStreamWriter:
        # A task for each core, and so as many files per batch and day: Kafka's partitions would make a file each.
        return (
            rows.coalesce(self._cores)
            .writeStream.outputMode("append")
            .queryName(feed.table.full_name)
            .trigger(processingTime=f"{int(feed.every.total_seconds())} seconds")
            .option("checkpointLocation", self.checkpoint(feed.table).location)
        )

    def _first_offsets(self, feed: Feed) -> str:
        """Say where a query without a checkpoint begins; Spark ignores it if there is one."""
        if offsets.has_begun(self.checkpoint(feed.table)) or feed.table is bronze.DEAD_LETTERS:
            return "earliest"
        first = self._after_rows(feed)
        if first is None:
            return "earliest"
        log.warning("no checkpoint, going on after the table's rows", extra={"table": feed.table.full_name})
        return offsets.to_json(first)

    def _after_rows(self, feed: Feed) -> offsets.Offsets | None:
        """Return where a table's rows end; None if it has none.

        A batch is in the table whole or not at all, so a table's highest offset of a partition is where it ended.
        """
        highest = (
            self._spark.table(self._name(feed.table))
            .groupBy("_kafka_topic", "_kafka_partition")
            .agg(F.max("_kafka_offset"))
            .collect()
        )
        if not highest:
            return None
        return offsets.after_rows(
            [(row[0], row[1], row[2]) for row in highest], {topic: self._partitions[topic] for topic in feed.topics}
        )

    def _name(self, table: Table) -> str:
        return f"{self._settings.catalog}.{table.full_name}"


def partition_counts(admin: AdminClient) -> dict[str, int]:
    """Return how many partitions each of our topics has.

    Raises:
        KafkaException: If the broker does not answer.
        LookupError: If a topic is not there.
    """
    there = admin.list_topics(timeout=15).topics
    absent = [topic.name for topic in TOPICS if topic.name not in there]
    if absent:
        raise LookupError(f"Kafka has no topic {', '.join(absent)}; run `python -m stack init`")
    return {topic.name: len(there[topic.name].partitions) for topic in TOPICS}


def unsettled(admin: AdminClient, feed: Feed, reached: offsets.Offsets, partitions: Mapping[str, int]) -> Batch:
    """Return what is in a table and may have left letters that were not written: the last run may have been killed.

    Raises:
        KafkaException: If the broker does not answer.
    """
    told = offsets.told(admin, LETTERS_GROUP, {topic: partitions[topic] for topic in feed.topics})
    start = offsets.since(told, reached)
    # How many were refused is not known any more; one is enough to look.
    return Batch(feed.table, start, reached, refused=int(offsets.is_before(start, reached)))


def run(settings: Settings) -> int:
    """Keep the queries running until one fails or the process is told to stop; return the exit code."""

    def connect() -> AdminClient:
        return AdminClient({"bootstrap.servers": settings.kafka.address})

    admin = connect()
    partitions = partition_counts(admin)
    metrics = WriterMetrics()
    metrics.serve(settings.listening(settings.bronze_metrics))
    cores = scale.cores(settings.state_dir)
    spark = SparkSession.builder.appName("bronze-writer").master(f"local[{cores}]").getOrCreate()
    log.info("starting", extra={"cores": cores})
    groups = offsets.GroupOffsets(connect)
    letters = Letters(spark, settings, groups, metrics.dead_letters.inc)
    stopper = Stopper(spark)
    writer = Writer(spark, settings, partitions, letters, cores)
    with reporting_to(BatchTeller(groups, letters, metrics), spark):
        try:
            for feed in feeds(settings):
                writer.forget_other_checkpoint(feed.table)
                writer.forget_torn_checkpoint(feed.table)
                reached = writer.reached(feed)
                if reached is not None:
                    # Said again: the last run may have died between the table and the group, and nothing new may come.
                    groups.tell(feed.table.full_name, reached)
                    if feed.table is not bronze.DEAD_LETTERS:
                        letters.settle(unsettled(admin, feed, reached, partitions))
                stopper.watch(writer.start(feed))
            while not (letters.has_failed or spark.streams.awaitAnyTermination(timeout=1)):
                pass
        except StreamingQueryException as failure:
            log.error("a query failed", extra={"reason": str(failure)})
            return 1
        if letters.has_failed:
            return 1
        if not stopper.was_told:
            log.error("a query ended by itself")
            return 1
        stopper.join()
    letters.close()
    groups.close()
    spark.stop()
    log.info("stopped between two batches")
    return 0


def main() -> int:
    """Run as the one writer of this stack's checkpoints; return the exit code."""
    log_as_json()
    settings = Settings.load()
    try:
        with Lease(settings.state_dir, "bronze-writer"):
            return run(settings)
    except (LeaseTakenError, LookupError, KafkaException, PySparkException, Py4JError, OSError) as failure:
        log.error("the Bronze writer cannot run", extra={"reason": str(failure)})
        return 1


if __name__ == "__main__":
    sys.exit(main())

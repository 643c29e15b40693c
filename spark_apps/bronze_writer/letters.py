"""What the tables' queries refused, into `bronze.dead_letters`: looked for only where a query counted some.

A query counts what it refuses in each batch. Nearly every batch refuses nothing, and then its offsets are settled with
that word. Else the batch's offsets are read again and what is refused is appended, unless it is there. How far this has
come is told to the group of `bronze.dead_letters`, which is also where it goes on after a kill.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from include.contracts import bronze
from include.contracts.table import Table
from include.settings import Settings
from spark_apps.bronze_writer import offsets
from spark_apps.bronze_writer.offsets import GroupOffsets, Offsets
from spark_apps.bronze_writer.transforms import dead_letters

log = logging.getLogger("bronze_writer")

GROUP = bronze.DEAD_LETTERS.full_name
TRIES = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that is in its table.

    Args:
        start: Where it began; None if the query does not say, as of its first.
        end: Where it ended.
        refused: How many of its records are no rows of the table.
    """

    table: Table
    start: Offsets | None
    end: Offsets
    refused: int


class Letters:
    """Settles one batch after the other, in a thread of its own.

    Args:
        groups: Where it is told how far the letters are.
        count: Called with how many letters were found.
    """

    def __init__(
        self, spark: SparkSession, settings: Settings, groups: GroupOffsets, count: Callable[[float], None]
    ) -> None:
        self.has_failed = False
        """Whether a batch could not be settled; then none after it is."""
        self._spark = spark
        self._settings = settings
        self._groups = groups
        self._count = count
        self._batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="letters", daemon=True)
        self._thread.start()

    def settle(self, batch: Batch) -> None:
        """Have a batch settled soon; returns at once. Those of one table come in their order."""
        self._batches.put(batch)

    def close(self) -> None:
        """Settle what was handed over, and stop."""
        self._batches.put(None)
        self._thread.join()

    def append(self, letters: DataFrame) -> None:
        """Append the letters that the table does not have yet.

        Looking for what is there makes it exactly once whatever is read again, for letters are few.
        """
        name = f"{self._settings.catalog}.{GROUP}"
        letters.persist()
        try:
            [first] = letters.agg(F.min("_ingested_at").alias("since"), F.count("*").alias("count")).collect()
            since = first["since"]
            if since is None:
                return
            there = self._spark.table(name).where(F.col("_ingested_at") >= F.lit(since)).select(*bronze.OFFSET)
            letters.join(there, list(bronze.OFFSET), "left_anti").writeTo(name).append()
            self._count(first["count"])
        finally:
            letters.unpersist()

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            if batch.refused and not self._fetch(batch):
                self.has_failed = True
                return
            self._groups.tell(GROUP, batch.end)

    def _fetch(self, batch: Batch) -> bool:
        """Read a batch again and append what its table refuses; return whether it succeeded."""
        start = offsets.since(batch.start, batch.end)
        told = {"table": batch.table.full_name, "refused": batch.refused}
        for attempt in range(1, TRIES + 1):
            try:
                self.append(dead_letters(self._read(start, batch.end), (batch.table,)))
            except (PySparkException, Py4JError) as failure:
                log.warning("letters not written", extra=told | {"attempt": attempt, "reason": str(failure)})
            else:
                log.info("letters written", extra=told)
                return True
        log.error("letters cannot be written; the next start begins with them", extra=told)
        return False

    def _read(self, start: Offsets, end: Offsets) -> DataFrame:
        # Not `subscribe`: where rows alone tell how far a table is, a partition without any is not in `end`.
        partitions = {topic: sorted(parts) for topic, parts in end.items()}
        return (
            self._spark.read.format("kafka")
            .option("kafka.bootstrap.servers", self._settings.kafka.address)
            .option("assign", json.dumps(partitions))
            .option("startingOffsets", offsets.to_json(start))
            .option("endingOffsets", offsets.to_json(end))
            .option("failOnDataLoss", "true")
            .option("includeHeaders", "true")
            .load()
        )

"""How far Bronze has come in Kafka: read from a query's checkpoint or from its table, told to a consumer group."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from spark_apps.bronze_writer.checkpoints import Checkpoint

log = logging.getLogger(__name__)

Offsets = dict[str, dict[int, int]]
"""By topic and partition the next offset to read: all before it are in the table."""

EARLIEST = -2
ANSWER_SECONDS = 10.0
"""How long the broker has to take a group's offsets; a request to one that dies meanwhile is never answered."""


def from_json(text: str | bytes) -> Offsets:
    """Read offsets as Spark's Kafka source writes them."""
    return {topic: {int(p): o for p, o in parts.items()} for topic, parts in json.loads(text).items()}


def to_json(offsets: Offsets) -> str:
    """Write offsets as Spark's Kafka source reads them."""
    return json.dumps({topic: {str(p): o for p, o in sorted(parts.items())} for topic, parts in offsets.items()})


def of_checkpoint(checkpoint: Checkpoint) -> Offsets | None:
    """Return the end of the newest batch that is in the table; None if no batch was finished.

    A batch has a file in `offsets` when it is planned, and one in `commits` when it is in the table.
    """
    finished = checkpoint.batches("commits")
    if not finished:
        return None
    lines = checkpoint.read(f"offsets/{max(finished)}").splitlines()
    # The format's version, the batch's settings, then one line per source.
    return from_json(lines[2])


def has_begun(checkpoint: Checkpoint) -> bool:
    """Tell whether a query has ever planned a batch with this checkpoint."""
    return bool(checkpoint.batches("offsets"))


def is_torn(checkpoint: Checkpoint) -> bool:
    """Tell whether a part of a checkpoint is lost without which a query cannot tell its last batch from a new one."""
    planned, finished = checkpoint.batches("offsets"), checkpoint.batches("commits")
    is_whole = checkpoint.exists("metadata") and planned and max(finished, default=planned[0]) in planned
    return checkpoint.exists() and not is_whole


def after_rows(highest: Iterable[tuple[str, int, int]], partitions: dict[str, int]) -> Offsets:
    """Return where to go on after the rows that a table has.

    Args:
        highest: Topic, partition and the highest offset in the table.
        partitions: How many partitions each topic has.
    """
    offsets = {topic: dict.fromkeys(range(count), EARLIEST) for topic, count in partitions.items()}
    for topic, partition, offset in highest:
        if topic in offsets:
            offsets[topic][partition] = offset + 1
    return offsets


def known(offsets: Offsets) -> Offsets:
    """Leave out the partitions that are only said to be read from their beginning."""
    return {
        topic: known for topic, parts in offsets.items() if (known := {p: o for p, o in parts.items() if o != EARLIEST})
    }


def since(start: Offsets | None, end: Offsets) -> Offsets:
    """Return where to begin in each partition of `end`: at `start`, or where that says nothing at the topic's."""
    return {
        topic: {partition: (start or {}).get(topic, {}).get(partition, EARLIEST) for partition in parts}
        for topic, parts in end.items()
    }


def is_before(start: Offsets, end: Offsets) -> bool:
    """Tell whether any partition has records from `start` to `end`."""
    return any(start[topic][partition] < offset for topic, parts in end.items() for partition, offset in parts.items())


def told(admin: AdminClient, group: str, topics: Mapping[str, int]) -> Offsets:
    """Return what a group was told of each topic; partitions of which it was told nothing are left out.

    Args:
        topics: Topics with the number of their partitions.

    Raises:
        KafkaException: If the broker does not answer.
    """
    asked = [TopicPartition(topic, partition) for topic, count in topics.items() for partition in range(count)]
    answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, asked)])[group].result()
    found: Offsets = {}
    for position in answer.topic_partitions or ():
        if position.offset >= 0:
            found.setdefault(position.topic, {})[position.partition] = position.offset
    return found


class GroupOffsets:
    """Tells Kafka how far each table is, as the committed offsets of a consumer group, so that any tool sees the lag.

    A thread of its own does it: a broker that does not answer must not hold up a batch. Only the newest offsets of a
    group matter; what could not be told is tried again until it is told or outdated.

    Args:
        connect: Makes a client of the broker. After a failure a new one is made: a client whose broker died in the
            middle of a request may never get an answer again.
        retry_after: Seconds between two tries.
    """

    def __init__(self, connect: Callable[[], AdminClient], retry_after: float = 5.0) -> None:
        self._connect = connect
        self._admin = connect()
        self._retry_after = retry_after
        self._untold: dict[str, Offsets] = {}
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="group-offsets", daemon=True)
        self._thread.start()

    def tell(self, group: str, offsets: Offsets) -> None:
        """Have the offsets told soon; returns at once. Of no partition nothing is told: the client would refuse it."""
        if not any(offsets.values()):
            return
        with self._changed:
            self._untold[group] = self._untold.get(group, {}) | offsets
            self._changed.notify()

    def close(self) -> None:
        """Tell what is untold, once, and stop."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._untold or self._is_closing)
                news, self._untold = self._untold, {}
            # Side by side: each may take its whole time when the broker has just been away.
            asked = {group: self._ask(group, offsets) for group, offsets in news.items()}
            failed = {group: news[group] for group, told in asked.items() if not _is_told(group, told)}
            if failed:
                self._admin = self._connect()
            with self._changed:
                for group, offsets in failed.items():
                    self._untold[group] = offsets | self._untold.get(group, {})
                if self._is_closing:
                    return
                if failed:
                    self._changed.wait_for(lambda: self._is_closing, timeout=self._retry_after)

    def _ask(self, group: str, offsets: Offsets) -> Future[ConsumerGroupTopicPartitions]:
        positions = [TopicPartition(topic, p, o) for topic, parts in offsets.items() for p, o in parts.items()]
        request = ConsumerGroupTopicPartitions(group, positions)
        return self._admin.alter_consumer_group_offsets([request], request_timeout=ANSWER_SECONDS)[group]


def _is_told(group: str, asked: Future[ConsumerGroupTopicPartitions]) -> bool:
    """Wait for the broker's answer and return whether it took the offsets."""
    try:
        told = asked.result()
    except KafkaException as refused:
        log.warning("offsets not committed, trying again", extra={"group": group, "reason": str(refused)})
        return False
    errors = [f"{p.topic}/{p.partition}: {p.error}" for p in told.topic_partitions or () if p.error]
    if errors:
        log.warning("offsets not committed, trying again", extra={"group": group, "reason": "; ".join(errors)})
    return not errors

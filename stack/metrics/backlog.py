"""How far Bronze is behind Kafka, seen from outside: it is told also when the writer hangs or is gone."""

from __future__ import annotations

import time
from collections.abc import Sequence

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client.core import GaugeMetricFamily, Metric

from include.contracts import TOPICS, bronze
from include.contracts.topics import Topic
from include.orchestration.evidence import Offsets, committed_offsets, end_offsets
from include.settings import Endpoint

SECONDS = 5.0
"""How long Kafka may take to give the records that wait."""

READ: tuple[tuple[Topic, str], ...] = tuple(
    (topic, table)
    for topic in TOPICS
    if topic.consumer_group is not None
    for table in dict.fromkeys((topic.consumer_group, bronze.DEAD_LETTERS.full_name))
)
"""Each topic with the tables that it is read for; all are read for dead letters."""


class Backlog:
    """Asks the broker. Only the first record that waits in a partition is fetched, so the cost does not grow."""

    def __init__(self, kafka: Endpoint) -> None:
        self._admin = AdminClient({"bootstrap.servers": kafka.address, "log_level": 0})
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka.address,
                # Never committed to; the client refuses to work without one.
                "group.id": "lake-metrics",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "queued.min.messages": 1,
                "fetch.message.max.bytes": 4096,
                "log_level": 0,
            }
        )

    def read(self) -> Sequence[Metric]:
        """Compare the ends of all topics with what is committed.

        Raises:
            KafkaException: If the broker does not answer.
        """
        ends = end_offsets(self._admin, {topic for topic, _ in READ})
        labels = ("topic", "table")
        records = GaugeMetricFamily("kafka_backlog_records", "Records that Bronze has not committed.", labels=labels)
        age = GaugeMetricFamily(
            "kafka_backlog_age_seconds", "Age of the oldest of those, by Kafka's timestamp; 0 if none waits.",
            labels=labels,
        )  # fmt: skip
        done = {(topic, table): committed_offsets(self._admin, topic, table) for topic, table in READ}
        oldest = self._times(
            {(topic.name, part, at) for (topic, _), parts in done.items() for part, at in _waiting(topic, parts, ends)}
        )
        now = time.time()
        for (topic, table), parts in done.items():
            waiting = [(topic.name, part, at) for part, at in _waiting(topic, parts, ends)]
            records.add_metric((topic.name, table), sum(ends[name][part] - at for name, part, at in waiting))
            times = [oldest[place] for place in waiting if place in oldest]
            if times or not waiting:
                age.add_metric((topic.name, table), max((now - at for at in times), default=0.0))
        return (records, age, _retention())

    def _times(self, places: set[tuple[str, int, int]]) -> dict[tuple[str, int, int], float]:
        """Return when the first record that is left at or after each place was written, in seconds since 1970."""
        found: dict[tuple[str, int, int], float] = {}
        while places:
            # One place of each partition at a time; most often the tables have all come equally far.
            now = {(topic, part): (topic, part, at) for topic, part, at in places}
            places = places - set(now.values())
            self._consumer.assign([TopicPartition(*place) for place in now.values()])
            deadline = time.monotonic() + SECONDS
            while now and time.monotonic() < deadline:
                for message in self._consumer.consume(len(now), timeout=0.5):
                    place = now.pop((str(message.topic()), int(message.partition() or 0)), None)
                    if place is not None and message.error() is None:
                        found[place] = message.timestamp()[1] / 1000
        self._consumer.unassign()
        return found


def _waiting(topic: Topic, done: dict[int, int], ends: Offsets) -> list[tuple[int, int]]:
    """List the partitions in which records wait, each with the first offset that is not committed."""
    return [(part, at) for part, at in done.items() if ends[topic.name][part] > at]


def _retention() -> Metric:
    family = GaugeMetricFamily("kafka_retention_seconds", "How long a topic keeps its records.", labels=("topic",))
    for topic in dict.fromkeys(topic for topic, _ in READ):
        if not topic.compacted:
            family.add_metric((topic.name,), topic.retention.total_seconds())
    return family

"""What Kafka knows of the flow: how far the readers are behind, and how far each product is closed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from include.contracts import TOPICS
from include.contracts.topics import PROGRESS
from include.settings import Endpoint

SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a consumer group is behind on one topic, in records; None if it has committed nothing yet."""

    topic: str
    group: str
    end: int
    behind: int | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one product is wholly in Kafka."""

    product: str
    covered_from: datetime
    closed_through: datetime


def lags(kafka: Endpoint) -> list[Lag]:
    """Return the lag of every topic that a group of ours reads.

    Raises:
        KafkaException: If the broker does not answer.
    """
    admin = AdminClient({"bootstrap.servers": kafka.address, "log_level": 0})
    there = admin.list_topics(timeout=SECONDS).topics
    found = []
    for topic in TOPICS:
        if topic.consumer_group is None or topic.name not in there:
            continue
        partitions = [TopicPartition(topic.name, partition) for partition in there[topic.name].partitions]
        ends = {
            place.partition: future.result(timeout=SECONDS).offset
            for place, future in admin.list_offsets({place: OffsetSpec.latest() for place in partitions}).items()
        }
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(topic.consumer_group, partitions)])
        committed = {
            place.partition: place.offset
            for place in asked[topic.consumer_group].result(timeout=SECONDS).topic_partitions
            if place.offset >= 0
        }
        behind = sum(end - committed.get(partition, 0) for partition, end in ends.items()) if committed else None
        found.append(Lag(topic.name, topic.consumer_group, sum(ends.values()), behind))
    return found


def progress(kafka: Endpoint) -> list[Progress]:
    """Return the newest progress of each product, by its name.

    Raises:
        KafkaException: If the broker does not answer.
    """
    newest: dict[str, Progress] = {}
    for value in _records(kafka, PROGRESS.name):
        record = json.loads(value)
        newest[record["product_id"]] = Progress(
            record["product_id"],
            datetime.fromisoformat(record["covered_from"]),
            datetime.fromisoformat(record["closed_through"]),
        )
    return [newest[product] for product in sorted(newest)]


def _records(kafka: Endpoint, topic: str) -> Iterator[bytes]:
    """Read a topic from its beginning to the end that it has now."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.address,
            "group.id": f"stack-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "log_level": 0,
        }
    )
    try:
        metadata = consumer.list_topics(topic, timeout=SECONDS).topics[topic]
        if metadata.error is not None:
            return
        open_ends = {}
        for partition in metadata.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=SECONDS)
            if high > low:
                open_ends[partition] = high
        consumer.assign([TopicPartition(topic, partition, 0) for partition in open_ends])
        while open_ends:
            message = consumer.poll(SECONDS)
            if message is None:
                return
            if message.error() is not None:
                raise KafkaException(message.error())
            value = message.value()
            if value is not None:
                yield value
            partition, offset = message.partition(), message.offset()
            if partition is not None and offset is not None and offset + 1 >= open_ends.get(partition, 0):
                open_ends.pop(partition, None)
    finally:
        consumer.close()

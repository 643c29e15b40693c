"""What Kafka knows of the flow: how far the readers are behind, and how far each product is closed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import Consumer, KafkaException, TopicPartition

from include.contracts import TOPICS
from include.contracts.topics import OF_PAST, PROGRESS
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
    """How far one product is wholly in Kafka.

    Args:
        product: Venue, market and name.
    """

    product: tuple[str, str, str]
    covered_from: datetime
    closed_through: datetime


def lags(kafka: Endpoint) -> list[Lag]:
    """Return the lag of every topic that a group of ours reads.

    Raises:
        KafkaException: If the broker does not answer.
    """
    found = []
    for topic in TOPICS:
        if topic.consumer_group is not None:
            lag = _lag(kafka, topic.name, topic.consumer_group)
            found += [lag] if lag is not None else []
    return found


def _lag(kafka: Endpoint, topic: str, group: str) -> Lag | None:
    """Return how far a group is behind on a topic; None if there is no such topic.

    Asks as the group's consumer, which neither joins it nor commits. The admin client's own questions end in callbacks
    on its threads, and a client that is freed while one is under way takes the process with it.
    """
    consumer = _consumer(kafka, group)
    try:
        partitions = _partitions(consumer, topic)
        if not partitions:
            return None
        places = consumer.committed(partitions, timeout=SECONDS)
        committed = {place.partition: place.offset for place in places if place.offset >= 0}
        ends = {place.partition: consumer.get_watermark_offsets(place, timeout=SECONDS)[1] for place in partitions}
    finally:
        consumer.close()
    behind = sum(end - committed.get(partition, 0) for partition, end in ends.items()) if committed else None
    return Lag(topic, group, sum(ends.values()), behind)


def progress(kafka: Endpoint) -> list[Progress]:
    """Return the newest progress of each product, by venue, market and name, as its producer tells it.

    Raises:
        KafkaException: If the broker does not answer.
    """
    newest: dict[tuple[str, str, str], Progress] = {}
    for key, value in _records(kafka, PROGRESS.name):
        if key.endswith(OF_PAST.encode()):
            continue
        record = json.loads(value)
        product = (record["venue"], record["market"], record["product_id"])
        newest[product] = Progress(
            product,
            datetime.fromisoformat(record["covered_from"]),
            datetime.fromisoformat(record["closed_through"]),
        )
    return [newest[product] for product in sorted(newest)]


def _records(kafka: Endpoint, topic: str) -> Iterator[tuple[bytes, bytes]]:
    """Read key and value of each record of a topic from its beginning to the end that it has now."""
    consumer = _consumer(kafka, f"stack-{uuid.uuid4()}")
    try:
        open_ends = {}
        for place in _partitions(consumer, topic):
            low, high = consumer.get_watermark_offsets(place, timeout=SECONDS)
            if high > low:
                open_ends[place.partition] = high
        consumer.assign([TopicPartition(topic, partition, 0) for partition in open_ends])
        while open_ends:
            message = consumer.poll(SECONDS)
            if message is None:
                return
            if message.error() is not None:
                raise KafkaException(message.error())
            key, value = message.key(), message.value()
            if value is not None:
                yield key or b"", value
            partition, offset = message.partition(), message.offset()
            if partition is not None and offset is not None and offset + 1 >= open_ends.get(partition, 0):
                open_ends.pop(partition, None)
    finally:
        consumer.close()


def _consumer(kafka: Endpoint, group: str) -> Consumer:
    """Open a consumer that commits nothing."""
    return Consumer(
        {"bootstrap.servers": kafka.address, "group.id": group, "enable.auto.commit": False, "log_level": 0}
    )


def _partitions(consumer: Consumer, topic: str) -> list[TopicPartition]:
    """List the partitions of a topic; none if there is no such topic."""
    metadata = consumer.list_topics(topic, timeout=SECONDS).topics[topic]
    return [] if metadata.error is not None else [TopicPartition(topic, number) for number in metadata.partitions]

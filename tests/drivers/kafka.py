"""Kafka as any tool sees it: offsets, groups and records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from include.settings import Settings

TIMEOUT = 30


@dataclass(frozen=True)
class Kafka:
    """A client of the stack's broker."""

    settings: Settings

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the offset after the last record of each partition."""
        consumer = self._consumer()
        try:
            partitions = consumer.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions
            return {
                partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT)[1]
                for partition in sorted(partitions)
            }
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return how far a consumer group has come in each partition of a topic; 0 where it committed nothing."""
        partitions = [TopicPartition(topic, partition) for partition in self.end_offsets(topic)]
        admin = AdminClient({"bootstrap.servers": self.settings.kafka.address})
        request = ConsumerGroupTopicPartitions(group, partitions)
        found = admin.list_consumer_group_offsets([request])[group].result(TIMEOUT)
        return {place.partition: max(place.offset, 0) for place in found.topic_partitions}

    def newest(self, topic: str, key: str) -> bytes:
        """Return the value of a key's newest record in a topic of one partition."""
        consumer = self._consumer()
        try:
            end = self.end_offsets(topic)[0]
            consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
            value, reached = None, 0
            while reached < end:
                message = consumer.poll(TIMEOUT)
                assert message is not None, f"{topic} ended at {reached}, not at {end}"
                assert message.error() is None, message.error()
                reached = message.offset() + 1
                value = message.value() if message.key() == key.encode() else value
        finally:
            consumer.close()
        assert value is not None, f"{topic} knows nothing of {key}"
        return value

    def produce(self, topic: str, key: str, values: Iterable[bytes], headers: Iterable[tuple[str, str]] = ()) -> None:
        """Write records and wait until the broker has acknowledged all of them."""
        producer = Producer({"bootstrap.servers": self.settings.kafka.address, "acks": "all"})
        failures: list[str] = []
        for value in values:
            producer.produce(
                topic,
                key=key,
                value=value,
                headers=list(headers),
                on_delivery=lambda error, _: failures.append(str(error)) if error else None,
            )
        assert producer.flush(TIMEOUT) == 0, "the broker acknowledged too little"
        assert failures == []

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.settings.kafka.address,
                "group.id": "tests",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )

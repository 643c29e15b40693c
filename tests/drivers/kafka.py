"""Kafka as any tool sees it: offsets, groups and records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from include.settings import Settings
from tests.drivers.waiting import eventually

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
            return {partition: _end(consumer, TopicPartition(topic, partition)) for partition in sorted(partitions)}
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return how far a consumer group has come in each partition of a topic; 0 where it committed nothing."""
        partitions = [TopicPartition(topic, partition) for partition in self.end_offsets(topic)]
        admin = AdminClient({"bootstrap.servers": self.settings.kafka.address, "log_level": 4})
        request = ConsumerGroupTopicPartitions(group, partitions)
        found = admin.list_consumer_group_offsets([request])[group].result(TIMEOUT)
        return {place.partition: max(place.offset, 0) for place in found.topic_partitions}

    def newest(self, topic: str, key: str, among: int = 5000) -> list[bytes]:
        """Return the values of a key, oldest first, among the newest records of each partition."""
        begins = {partition: max(end - among, 0) for partition, end in self.end_offsets(topic).items()}
        return [message.value() for message in self.records(topic, begins) if message.key() == key.encode()]

    def records(self, topic: str, begins: Mapping[int, int]) -> Iterator[Message]:
        """Give the records of each partition from an offset to its present end."""
        ends = self.end_offsets(topic)
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(topic, partition, begin) for partition, begin in begins.items()])
            left = {partition for partition, end in ends.items() if end > begins[partition]}
            while left:
                message = consumer.poll(TIMEOUT)
                assert message is not None, f"{topic} gives nothing of {left}"
                assert message.error() is None, message.error()
                yield message
                if message.offset() + 1 >= ends[message.partition()]:
                    left.discard(message.partition())
        finally:
            consumer.close()

    def produce(
        self, topic: str, key: str, values: Iterable[bytes | None], headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Write records and wait until the broker has acknowledged all of them; None is a record without a value."""
        told = list(headers)
        with self._acknowledged() as produce:
            for value in values:
                produce(topic, key=key, value=value, headers=told)

    def produce_again(self, records: Iterable[Message]) -> None:
        """Write records once more as they are: key, value and headers."""
        with self._acknowledged() as produce:
            for record in records:
                produce(record.topic(), key=record.key(), value=record.value(), headers=record.headers())

    @contextmanager
    def _acknowledged(self) -> Iterator[Callable[..., None]]:
        """Give what writes a record; wait until the broker has acknowledged all of them."""
        producer = Producer(
            {"bootstrap.servers": self.settings.kafka.address, "acks": "all", "queue.buffering.max.messages": 10**6}
        )
        failures: list[str] = []
        yield partial(producer.produce, on_delivery=lambda error, _: failures.append(str(error)) if error else None)
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


def received(at: datetime) -> dict[str, str]:
    """Return the headers that the Coinbase producer gives a frame of its feed that it received at a moment."""
    micros = str(int(at.timestamp() * 1_000_000))
    return {"source": "ws", "frame_index": "0", "received_at": micros, "venue": "coinbase", "market": "spot"}


def _end(consumer: Consumer, partition: TopicPartition) -> int:
    """Return a partition's end; of one that was just made, once the broker knows that it leads it."""

    def end() -> tuple[int] | None:
        try:
            return (consumer.get_watermark_offsets(partition, timeout=TIMEOUT)[1],)
        except KafkaException as refused:
            if refused.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                raise
            return None

    return eventually(end, within=TIMEOUT, what=f"a leader of {partition}", every=0.2)[0]

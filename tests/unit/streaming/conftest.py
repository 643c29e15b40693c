"""A Kafka that acknowledges at once and remembers: what is tested here is who sends what, not how it travels."""

from __future__ import annotations

import msgspec
import pytest

from streaming.records import Record


class Acknowledging:
    """Takes records as `streaming.delivery.Delivery` does."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.outstanding = 0

    def offer(self, record: Record) -> bool:
        self.records.append(record)
        if record.acknowledged is not None:
            record.acknowledged()
        return True

    def consignment(self, like: Record) -> Consigned:
        return Consigned(self, like)

    async def send(self, record: Record) -> None:
        self.offer(record)

    def values(self, topic: str) -> list[bytes]:
        return [record.value for record in self.records if record.topic == topic]

    def events(self) -> list[dict]:
        return [msgspec.json.decode(value) for value in self.values("ingestion.events")]


class Consigned:
    """Takes values as `streaming.delivery.Consignment` does."""

    def __init__(self, kafka: Acknowledging, like: Record) -> None:
        self.kafka = kafka
        self.like = like

    def record(self, value: bytes) -> Record:
        return msgspec.structs.replace(self.like, value=value)

    def offer(self, value: bytes) -> bool:
        return self.kafka.offer(self.record(value))


@pytest.fixture
def kafka() -> Acknowledging:
    return Acknowledging()

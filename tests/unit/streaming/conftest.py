"""A Kafka that acknowledges at once and remembers: what is tested here is who sends what, not how it travels."""

from __future__ import annotations

import msgspec
import pytest

from streaming.delivery import Consignment
from streaming.records import Record


class Acknowledging:
    """Takes records as `streaming.delivery.Delivery` does."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.outstanding = 0

    def offer(self, what: Record | Consignment) -> bool:
        records = what.records() if isinstance(what, Consignment) else [what]
        for record in records:
            self.records.append(record)
            if record.acknowledged is not None:
                record.acknowledged()
        return True

    async def send(self, what: Record | Consignment) -> None:
        self.offer(what)

    def values(self, topic: str) -> list[bytes]:
        return [record.value for record in self.records if record.topic == topic]

    def events(self) -> list[dict]:
        return [msgspec.json.decode(value) for value in self.values("ingestion.events")]


@pytest.fixture
def kafka() -> Acknowledging:
    return Acknowledging()

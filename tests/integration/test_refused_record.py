"""A record that Kafka itself refuses breaks the producer once; the next start sets it aside, and loses no other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from include.contracts.topics import COINBASE_TRADES
from include.settings import Settings
from streaming import spool
from streaming.delivery import Consignment, DeliveryBrokenError
from streaming.records import Record
from streaming.service import service
from tests.drivers.kafka import Kafka
from tests.drivers.running_stack import RunningStack, broker_alone

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

KEY = "BTC-USD"
TOO_LARGE = random.Random(3).randbytes(5000)
LIMIT = 2000
"""Bytes that the broker takes at once; what cannot be compressed stays larger."""


@pytest.fixture
def broker() -> Iterator[RunningStack]:
    """A broker that takes only small records of trades."""
    with broker_alone() as stack:
        limit = ConfigEntry("max.message.bytes", str(LIMIT), incremental_operation=AlterConfigOpType.SET)
        topic = ConfigResource(ResourceType.TOPIC, COINBASE_TRADES.name, incremental_configs=[limit])
        admin = AdminClient({"bootstrap.servers": stack.settings.kafka.address})
        for changed in admin.incremental_alter_configs([topic]).values():
            changed.result()
        yield stack


async def live(settings: Settings, *values: bytes) -> None:
    """Be a producer that sends records which came together, until Kafka has them."""
    async with service(settings, "coinbase", [COINBASE_TRADES], "producer_metrics") as running:
        await running.delivery.send(Consignment(Record(COINBASE_TRADES.name, KEY, b"", []), values))
        while running.delivery.outstanding:
            await asyncio.sleep(0.01)


def test_the_next_start_sets_a_refused_record_aside_and_sends_all_others(broker: RunningStack):
    with pytest.raises(ExceptionGroup) as ended:
        asyncio.run(live(broker.settings, b"first", TOO_LARGE, b"last"))
    # The first one's metrics are served for as long as this process lives: the next serves them where nobody does.
    asyncio.run(live(broker.settings.model_copy(update={"producer_metrics": broker.settings.trino}), b"later"))

    assert ended.group_contains(DeliveryBrokenError)
    assert Kafka(broker.settings).newest(COINBASE_TRADES.name, KEY) == [b"first", b"last", b"later"]
    folder = broker.state / "spool"
    assert [record.value for record in spool.load(folder / "producer-coinbase.refused.ndjson")] == [TOO_LARGE]
    assert not (folder / "producer-coinbase.ndjson").exists()

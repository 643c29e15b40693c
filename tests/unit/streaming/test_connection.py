import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streaming.connection import wait_for_room
from streaming.delivery import Delivery
from streaming.metrics import Metrics
from streaming.records import Record

pytestmark = pytest.mark.unit

NOBODY = "127.0.0.1:1"


class Watch:
    """Notes whether silence counts."""

    def __init__(self) -> None:
        self.counts = True

    @contextmanager
    def suspended(self) -> Iterator[None]:
        self.counts = False
        yield
        self.counts = True


async def test_silence_does_not_count_while_a_record_waits_for_room_and_the_record_is_not_lost():
    kafka = Delivery(NOBODY, "test", Metrics("coinbase"), refused=lambda *_: None, queue_records=2)
    one, two, three = (Record("coinbase.raw.trades", "BTC-USD", b"%d" % number, []) for number in range(3))
    for record in (one, two):
        assert kafka.offer(record)
    watch = Watch()

    waiting = asyncio.create_task(wait_for_room(three, kafka, watch))
    await asyncio.sleep(0)
    assert (waiting.done(), watch.counts) == (False, False)
    kafka.give_up()
    await waiting

    assert watch.counts
    assert sorted(record.value for record in kafka.undelivered) == [b"0", b"1", b"2"]

import asyncio

import pytest
from confluent_kafka import KafkaError

from streaming.delivery import Delivery, Receipts
from streaming.failures import RefusalError
from streaming.metrics import Metrics
from streaming.records import Record

pytestmark = pytest.mark.unit

NOBODY = "127.0.0.1:1"


def frame(number: int) -> Record:
    return Record("coinbase.raw.trades", "BTC-USD", b"%d" % number, [("source", b"ws")])


def delivery(**arguments) -> Delivery:
    return Delivery(NOBODY, "test", Metrics("coinbase"), refused=lambda *_: None, **arguments)


async def test_what_kafka_did_not_acknowledge_is_given_back_in_the_end():
    kafka = delivery()
    records = [frame(number) for number in range(3)]
    for record in records:
        await kafka.send(record)
    kafka.give_up()

    assert sorted(record.value for record in kafka.undelivered) == [b"0", b"1", b"2"]
    # The client counts what it has to say of the broker that is away among what is outstanding, until it is asked.
    serving = asyncio.create_task(kafka.run())
    assert await kafka.drain(5)
    serving.cancel()


async def test_whoever_sends_waits_while_the_queue_is_full_and_loses_nothing_in_the_end():
    kafka = delivery(queue_records=2)
    sending = [asyncio.create_task(kafka.send(frame(number))) for number in range(5)]
    await asyncio.sleep(0)
    assert [task.done() for task in sending] == [True, True, False, False, False]

    kafka.give_up()
    await asyncio.gather(*sending)

    assert sorted(record.value for record in kafka.undelivered) == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_record_that_kafka_will_never_take_is_handed_over_with_the_reason():
    refused = []
    kafka = Delivery(NOBODY, "test", Metrics("coinbase"), refused=lambda record, why: refused.append((record, why)))
    record = Record("coinbase.raw.status", "coinbase", bytes(9_000_000), [])
    await kafka.send(record)
    kafka.give_up()

    assert [kept for kept, _ in refused] == [record]
    assert kafka.undelivered == []


async def test_a_broker_that_is_not_there_is_named():
    with pytest.raises(RefusalError, match=NOBODY):
        await delivery().check(["coinbase.raw.trades"], seconds=0)


async def test_receipts_wait_for_the_last_acknowledgement():
    receipts = Receipts()
    await receipts.all()
    first, second = receipts.expect(), receipts.expect()
    waiting = asyncio.create_task(receipts.all())
    first()
    await asyncio.sleep(0)
    assert not waiting.done()

    second()
    await waiting


async def test_each_record_of_a_consignment_is_given_back_whole_in_the_end():
    kafka = delivery()
    acknowledged = []
    like = Record("coinbase.raw.trades", "BTC-USD", b"", [("source", b"ws")], lambda: acknowledged.append(1))
    consignment = kafka.consignment(like)
    assert all(consignment.offer(b"%d" % number) for number in range(3))
    kafka.give_up()
    assert consignment.offer(b"3")

    assert sorted(record.value for record in kafka.undelivered) == [b"0", b"1", b"2", b"3"]
    assert all(record == consignment.record(record.value) for record in kafka.undelivered)
    assert acknowledged == []


async def test_a_consignment_says_when_the_queue_is_full_and_keeps_nothing_of_it():
    kafka = delivery(queue_records=2)
    consignment = kafka.consignment(frame(0))
    assert [consignment.offer(b"%d" % number) for number in range(3)] == [True, True, False]

    kafka.give_up()

    assert sorted(record.value for record in kafka.undelivered) == [b"0", b"1"]


async def test_each_record_of_a_consignment_counts_by_its_own_report():
    kafka = delivery()
    settled = []
    consignment = kafka.consignment(Record("coinbase.raw.trades", "BTC-USD", b"", [], lambda: settled.append(1)))

    consignment.reported(None, Report(b"1"))
    consignment.reported(KafkaError(KafkaError._MSG_TIMED_OUT), Report(b"2"))
    consignment.reported(None, Report(b"3"))

    assert (len(settled), kafka.delivered) == (2, 2)
    kafka.give_up()
    assert [record.value for record in kafka.undelivered] == [b"2"]


class Report:
    """What librdkafka hands to a delivery callback."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def value(self) -> bytes:
        return self._value

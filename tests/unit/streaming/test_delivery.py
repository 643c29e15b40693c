import asyncio
from datetime import timedelta

import pytest
from confluent_kafka import KafkaError

from streaming.delivery import Consignment, Delivery, DeliveryBrokenError, Receipts
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
    assert kafka.offer(Consignment(like, [b"0", b"1", b"2"]))
    kafka.give_up()
    assert kafka.offer(Consignment(like, [b"3", b"4"]))

    assert kafka.undelivered == Consignment(like, [b"0", b"1", b"2", b"3", b"4"]).records()
    assert acknowledged == []


async def test_a_consignment_waits_for_room_in_the_middle_and_is_given_back_once():
    kafka = delivery(queue_records=2)
    consignment = Consignment(frame(0), [b"0", b"1", b"2", b"3"])
    sending = asyncio.create_task(kafka.send(consignment))
    await asyncio.sleep(0)
    assert (sending.done(), consignment.sent) == (False, 2)

    kafka.give_up()
    await sending

    assert [record.value for record in kafka.undelivered] == [b"0", b"1", b"2", b"3"]


class Reporting:
    """Stands where librdkafka does, and reports when it is told to."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.taken: list[bytes] = []
        self.reports: list = []

    def produce(self, _topic, value, _key, _partition, on_delivery, *_) -> None:
        if len(self.taken) == self.room:
            raise BufferError
        self.taken.append(value)
        self.reports.append(on_delivery)

    def report(self, error: KafkaError | None) -> None:
        reports, self.reports = self.reports, []
        for on_delivery in reports:
            if on_delivery is not None:
                on_delivery(error, None)

    def __len__(self) -> int:
        return len(self.reports)

    def purge(self) -> None: ...

    def flush(self, _seconds: float) -> None:
        self.report(KafkaError(KafkaError._PURGE_INFLIGHT))


def reporting(monkeypatch: pytest.MonkeyPatch, room: int = 1000) -> tuple[Delivery, Reporting]:
    kafka, client = delivery(), Reporting(room)
    monkeypatch.setattr(kafka, "_producer", client)
    return kafka, client


async def test_the_report_of_the_last_settles_all(monkeypatch: pytest.MonkeyPatch):
    kafka, client = reporting(monkeypatch)
    settled = []
    like = Record("coinbase.raw.trades", "BTC-USD", b"", [], lambda: settled.append(1))
    kafka.offer(Consignment(like, [b"0", b"1", b"2"]))

    assert (client.taken, [on_delivery is None for on_delivery in client.reports]) == (
        [b"0", b"1", b"2"],
        [True, True, False],
    )
    client.report(None)

    assert (len(settled), kafka.delivered, kafka.outstanding) == (3, 3, 0)


async def test_what_was_not_taken_goes_out_again_record_by_record(monkeypatch: pytest.MonkeyPatch):
    kafka, client = reporting(monkeypatch)
    settled = []
    like = Record("coinbase.raw.trades", "BTC-USD", b"", [], lambda: settled.append(1))
    kafka.offer(Consignment(like, [b"0", b"1"]))
    client.report(KafkaError(KafkaError._UNKNOWN_TOPIC))
    assert (settled, kafka.outstanding) == ([], 2)

    monkeypatch.setattr(client, "poll", lambda _: None, raising=False)
    serving = asyncio.create_task(kafka.run())
    await asyncio.sleep(0)
    serving.cancel()
    assert client.taken == [b"0", b"1", b"0", b"1"]
    assert all(on_delivery is not None for on_delivery in client.reports)

    client.report(None)
    assert (len(settled), kafka.outstanding) == (2, 0)


async def test_a_refused_record_does_not_take_others_along(monkeypatch: pytest.MonkeyPatch):
    refused: list[bytes] = []
    kafka = Delivery(NOBODY, "test", Metrics("coinbase"), refused=lambda record, _: refused.append(record.value))
    client = Reporting()
    monkeypatch.setattr(kafka, "_producer", client)
    oversized = bytes(9_000_000)

    kafka.offer(Consignment(frame(0), [b"0", b"1", oversized]))
    client.report(None)
    assert (refused, client.taken, kafka.delivered) == ([oversized], [b"0", b"1"], 2)

    kafka.offer(frame(2))
    client.report(KafkaError(KafkaError.INVALID_RECORD))
    assert refused == [oversized, b"2"]
    kafka.give_up()
    assert kafka.undelivered == []


async def test_a_producer_that_is_broken_for_good_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch):
    kafka, client = reporting(monkeypatch)
    kafka.offer(Consignment(frame(0), [b"0", b"1"]))
    kafka.offer(Consignment(frame(0), [b"2", b"3"]))
    monkeypatch.setattr(client, "poll", lambda _: None, raising=False)
    first, *client.reports = [report for report in client.reports if report is not None]

    first(KafkaError(KafkaError._GAPLESS_GUARANTEE, fatal=True), None)
    with pytest.raises(DeliveryBrokenError):
        await kafka.run()
    kafka.give_up()

    assert sorted(record.value for record in kafka.undelivered) == [b"0", b"1", b"2", b"3"]


async def test_waiting_for_too_long_is_told_but_not_at_every_look(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    kafka, client = delivery(patience=timedelta(0)), Reporting()
    monkeypatch.setattr(kafka, "_producer", client)
    monkeypatch.setattr(client, "poll", lambda _: None, raising=False)
    kafka.offer(frame(0))

    serving = asyncio.create_task(kafka.run())
    while not caplog.records:
        await asyncio.sleep(0.001)
    waited = kafka.waiting_seconds
    for _ in range(3):
        await asyncio.sleep(0.02)
    serving.cancel()

    assert [record.message for record in caplog.records] == [
        "Kafka does not acknowledge in time; all that was sent waits for it"
    ]
    assert kafka.waiting_seconds > waited > 0

"""Into Kafka: a record counts as delivered when the broker has acknowledged it, and not before."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streaming.failures import RefusalError
from streaming.metrics import Metrics
from streaming.records import Record

log = logging.getLogger(__name__)

POLL_SECONDS = 0.01
"""How often delivery reports are asked for: librdkafka has no file descriptor that Python could wait on."""
SAMPLE = 64
"""The latency of one record in so many is measured."""
FAILURES_SECONDS = 1.0
"""How often records that are sent again are logged; each time all since the last."""
QUIET_SECONDS = 30.0
"""How often one kind of trouble with the broker is logged."""
MAX_RECORD_BYTES = 8_000_000
"""A status frame lists everything that the exchange trades, and compresses to a tenth."""

REFUSED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_RECORD,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)
"""Errors of a record that would be the same at every further try."""
PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})


class DeliveryBrokenError(RuntimeError):
    """The idempotent producer can promise nothing more; a new process can."""


class Receipts:
    """Counts records sent and acknowledged, so that their sender can wait for the rest."""

    def __init__(self) -> None:
        self._open = 0
        self._settled = asyncio.Event()
        self._settled.set()

    def expect(self) -> Callable[[], None]:
        """Count one record as sent; call what is returned when it is acknowledged."""
        self._open += 1
        self._settled.clear()
        return self._acknowledge

    async def all(self) -> None:
        """Wait until every record is acknowledged."""
        await self._settled.wait()

    def _acknowledge(self) -> None:
        self._open -= 1
        if not self._open:
            self._settled.set()


class Consignment:
    """Records of one topic, key, headers and debtor that come together, or one alone.

    They share one delivery callback, which knows the record again by the value that librdkafka gives back with it. An
    object and a callback for each would take a microsecond more, of six from the wire to the acknowledgement.
    """

    __slots__ = ("_acknowledged", "_delivery", "_headers", "_key", "_like", "_produce", "_sent_at", "_topic")

    def __init__(self, delivery: Delivery, producer: Producer, like: Record) -> None:
        self._delivery = delivery
        self._like = like
        self._topic, self._key = like.topic, like.key
        self._headers: Any = like.headers  # the stub wants a list of wider tuples
        self._acknowledged = like.acknowledged
        self._produce = producer.produce
        self._sent_at = time.monotonic()

    def record(self, value: bytes) -> Record:
        """Return one of its records whole."""
        return msgspec.structs.replace(self._like, value=value)

    def offer(self, value: bytes) -> bool:
        """Hand a record to the producer; return False if its queue is full."""
        if self._delivery.has_given_up:
            self._delivery.undelivered.append(self.record(value))
            return True
        try:
            # By place, a third of a microsecond faster than by name: -1 is any partition, 0 the present time.
            self._produce(self._topic, value, self._key, -1, self.reported, None, 0, self._headers)
        except BufferError:
            return False
        except KafkaException as error:
            self._delivery.failed(self.record(value), error.args[0])
        return True

    def reported(self, error: KafkaError | None, message: Message) -> None:
        """Take note of what became of one record."""
        delivery = self._delivery
        if error is not None:
            delivery.failed(self.record(message.value() or b""), error)
            return
        delivery.delivered += 1
        if not delivery.delivered % SAMPLE:
            delivery.metrics.delivery_seconds.observe(time.monotonic() - self._sent_at)
        if self._acknowledged is not None:
            self._acknowledged()


class Delivery:
    """An idempotent producer (acks=all) within asyncio. All callbacks run in the event loop's thread.

    A record that Kafka does not take in time is sent again, for ever. When the queue is full, `send` waits: its caller
    then reads no more from the venue, and the venue's own patience is the limit. Nothing is ever dropped.

    Args:
        bootstrap: `host:port` of the broker.
        client_id: How the broker's log names us.
        metrics: Where latency, queue and failures are counted.
        refused: Called with a record that Kafka will never take, and why.
        patience: When Kafka has not acknowledged a record for so long, it is logged and sent again.
        queue_records: How many records may wait; beyond, `send` waits.
    """

    def __init__(
        self,
        bootstrap: str,
        client_id: str,
        metrics: Metrics,
        *,
        refused: Callable[[Record, str], None],
        patience: timedelta = timedelta(seconds=60),
        queue_records: int = 100_000,
    ) -> None:
        self.undelivered: list[Record] = []
        """What was not acknowledged when `give_up` was called."""
        self.has_given_up = False
        self.delivered = 0
        self._bootstrap = bootstrap
        self.metrics = metrics
        self._refused = refused
        self._broken: KafkaError | None = None
        self._room = asyncio.Event()
        self._again: deque[Record] = deque()
        self._failures: dict[str, int] = {}
        self._failures_told_at = -math.inf
        self._told_at: dict[int, float] = {}
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": client_id,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 10,
                "message.max.bytes": MAX_RECORD_BYTES,
                "delivery.timeout.ms": int(patience / timedelta(milliseconds=1)),
                "queue.buffering.max.messages": queue_records,
                "queue.buffering.max.kbytes": 131_072,
                "reconnect.backoff.max.ms": 2_000,
                "error_cb": self._on_error,
                "log_level": 2,  # what it would say of a broker that is away, it also says to error_cb
            }
        )
        metrics.watch_delivery(delivered=lambda: self.delivered, queued=lambda: self.outstanding)

    @property
    def outstanding(self) -> int:
        """How many records are not yet acknowledged."""
        return len(self._producer) + len(self._again)

    async def check(self, topics: Iterable[str], seconds: float = 60) -> None:
        """Wait for the broker and see that the topics are there.

        Raises:
            RefusalError: If the broker does not answer in time, or a topic is missing.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                left = max(0.1, min(5.0, deadline - time.monotonic()))
                there = (await asyncio.to_thread(self._producer.list_topics, timeout=left)).topics
                break
            except KafkaException as error:
                if time.monotonic() > deadline:
                    raise RefusalError(
                        f"Kafka does not answer at {self._bootstrap}: start it, or set LAKE_KAFKA__PORT to its port"
                    ) from error
                log.warning("waiting for Kafka", extra={"bootstrap": self._bootstrap, "reason": str(error)})
                self._producer.poll(0)
        if missing := sorted(set(topics) - set(there)):
            raise RefusalError(
                f"Kafka at {self._bootstrap} has no topic {', '.join(missing)}: create them with `python -m stack init`"
            )

    def offer(self, record: Record) -> bool:
        """Hand a record to the producer; return False if its queue is full."""
        return self.consignment(record).offer(record.value)

    def consignment(self, like: Record) -> Consignment:
        """Begin a consignment of records that differ from this one in their value alone."""
        return Consignment(self, self._producer, like)

    async def send(self, record: Record) -> None:
        """Hand a record to the producer; wait while its queue is full."""
        while not self.offer(record):
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Serve delivery reports, and send again what failed, until cancelled.

        Raises:
            DeliveryBrokenError: If the producer must be replaced.
        """
        while True:
            self._producer.poll(0)
            self._room.set()
            if self._broken is not None:
                raise DeliveryBrokenError(f"Kafka's producer is broken for good: {self._broken.str()}")
            if self._failures and time.monotonic() > self._failures_told_at + FAILURES_SECONDS:
                self._failures_told_at = time.monotonic()
                log.error("Kafka did not acknowledge in time; sending again", extra={"records": self._failures})
                self._failures = {}
            while self._again and self.offer(self._again[0]):
                self._again.popleft()
            await asyncio.sleep(POLL_SECONDS)

    async def drain(self, seconds: float) -> bool:
        """Wait until all is acknowledged, or the time is over; `run` must be running. Return whether all is."""
        deadline = time.monotonic() + seconds
        while self.outstanding and time.monotonic() < deadline:
            await asyncio.sleep(POLL_SECONDS)
        return not self.outstanding

    def give_up(self) -> None:
        """Stop sending. What is not acknowledged, and whatever is sent from now on, is left in `undelivered`."""
        self.has_given_up = True
        self._room.set()
        self._producer.purge()
        self._producer.flush(1)
        self.undelivered.extend(self._again)
        self._again.clear()

    def failed(self, record: Record, error: KafkaError) -> None:
        """Send a record again, or hand it over, as the error has it."""
        if self.has_given_up or error.code() in PURGED:
            self.undelivered.append(record)
        elif error.code() in REFUSED:
            self._refused(record, error.str())
        else:
            if error.fatal():
                self._broken = error
            if not record.is_superseded_if_lost:
                self._again.append(record)
                self.metrics.redelivered.inc()
            self._failures[error.str()] = self._failures.get(error.str(), 0) + 1

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._broken = error
        # A broker that is away is reported at every attempt to reach it, several times a second.
        if time.monotonic() - self._told_at.get(error.code(), -math.inf) > QUIET_SECONDS:
            self._told_at[error.code()] = time.monotonic()
            log.warning("Kafka's client is in trouble", extra={"reason": error.str(), "waiting": self.outstanding})

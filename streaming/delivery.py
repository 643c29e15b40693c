"""Into Kafka: a record counts as delivered when the broker has acknowledged it, and not before."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any, cast

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streaming.failures import RefusalError
from streaming.metrics import Metrics
from streaming.records import Record

log = logging.getLogger(__name__)

POLL_SECONDS = 0.01
"""How often delivery reports are asked for: librdkafka has no file descriptor that Python could wait on."""
FAILURES_SECONDS = 1.0
"""How often records that are sent again are logged; each time all since the last."""
QUIET_SECONDS = 30.0
"""How often one kind of trouble with the broker is logged."""
MAX_RECORD_BYTES = 8_000_000
"""A status frame lists everything that the exchange trades, and compresses to a tenth."""
LARGEST_VALUE_BYTES = MAX_RECORD_BYTES - 65_536
"""What key, headers and the protocol leave of it."""

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
    """Records of one topic, key, headers and debtor that come together; one report speaks for all, that of the last.

    They go to one partition, in this order. The producer is idempotent and gapless and lets no record expire, so the
    broker has none of them without those before it. A report for each would cost a microsecond, a quarter of all that
    lies between the wire and the acknowledgement.

    Args:
        like: What they have in common.
        values: Theirs, in order; those that come later are added to it until it is sent.
        acknowledged: Called with their number, in place of what `like` has called once for each.
    """

    __slots__ = ("_acknowledged", "like", "sent", "sent_at", "values")

    def __init__(
        self, like: Record, values: Iterable[bytes] = (), acknowledged: Callable[[int], None] | None = None
    ) -> None:
        self.like = like
        self.values = [*values]
        self._acknowledged = acknowledged
        self.sent = 0
        """How many the producer has."""
        self.sent_at = math.inf
        """When it got the first, on the monotonic clock."""

    def records(self) -> list[Record]:
        """Return its records, each whole."""
        return [msgspec.structs.replace(self.like, value=value) for value in self.values]

    def acknowledged(self) -> None:
        """Tell the debtor that the broker has them."""
        if self._acknowledged is not None:
            self._acknowledged(len(self.values))
        elif self.like.acknowledged is not None:
            for _ in self.values:
                self.like.acknowledged()


class Delivery:
    """An idempotent producer (acks=all) within asyncio. All callbacks run in the event loop's thread.

    A record waits until Kafka takes it, for ever. When the queue is full, `send` waits: its caller then reads no more
    from the venue, and the venue's own patience is the limit. Nothing is ever dropped.

    Args:
        bootstrap: `host:port` of the broker.
        client_id: How the broker's log names us.
        metrics: Where latency, queue and failures are counted.
        refused: Called with a record that Kafka will never take, and why.
        patience: When Kafka has not acknowledged a record for so long, that is logged.
        queue_records: How many records may wait; beyond, `send` waits.
        is_one_by_one: Whether each record has a request of its own, for those of which Kafka may refuse one: it takes
            no other along. Slow, and for records alone: only a gapless producer's report speaks for a consignment.
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
        is_one_by_one: bool = False,
    ) -> None:
        self.undelivered: list[Record] = []
        """What was not acknowledged when `give_up` was called."""
        self.has_given_up = False
        self.delivered = 0
        self._bootstrap = bootstrap
        self._metrics = metrics
        self._refused = refused
        self._patience_seconds = patience.total_seconds()
        self._broken: KafkaError | None = None
        self._room = asyncio.Event()
        self._again: deque[Record] = deque()
        self._open: dict[Consignment, None] = {}
        """Those that the producer has, in whole or in part, and that no report has spoken for; the oldest first."""
        self._oldest_sent_at = math.inf
        self._late_told_at = -math.inf
        self._failures: dict[str, int] = {}
        self._failures_told_at = -math.inf
        self._told_at: dict[int, float] = {}
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": client_id,
                "enable.idempotence": True,
                "enable.gapless.guarantee": not is_one_by_one,
                **({"batch.num.messages": 1} if is_one_by_one else {}),
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 10,
                "message.max.bytes": MAX_RECORD_BYTES,
                # What expires alone would be missing between others, and nobody would be told of it.
                "delivery.timeout.ms": 0,
                "queue.buffering.max.messages": queue_records,
                "queue.buffering.max.kbytes": 131_072,
                "reconnect.backoff.max.ms": 2_000,
                "error_cb": self._on_error,
                "log_level": 2,  # what it would say of a broker that is away, it also says to error_cb
            }
        )
        metrics.watch_delivery(
            delivered=lambda: self.delivered, queued=lambda: self.outstanding, waiting=lambda: self.waiting_seconds
        )

    @property
    def outstanding(self) -> int:
        """How many records are not yet acknowledged."""
        return len(self._producer) + len(self._again)

    @property
    def waiting_seconds(self) -> float:
        """How long the oldest record that is not acknowledged has waited, as `run` saw it last. For any thread."""
        return max(0.0, time.monotonic() - self._oldest_sent_at)

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

    def offer(self, what: Record | Consignment) -> bool:
        """Hand over a record, or of a consignment as many as there is room for; return whether that was all of it."""
        consignment = what if isinstance(what, Consignment) else Consignment(what, [what.value])
        if self.has_given_up:
            self._give_back(consignment)
            return True
        if consignment.sent_at == math.inf:
            consignment.sent_at = time.monotonic()
            self._take_out_oversized(consignment)
        like, values, produce = consignment.like, consignment.values, self._producer.produce
        if not values:
            return True
        topic, key = like.topic, like.key
        headers = cast("list[Any]", like.headers)  # the stub wants a list of wider tuples
        at = last = len(values) - 1
        self._open[consignment] = None
        try:
            # By place, a third of a microsecond faster than by name: -1 is any partition, 0 the present time.
            for at in range(consignment.sent, last):
                produce(topic, values[at], key, -1, None, None, 0, headers)
            at = last
            produce(topic, values[at], key, -1, partial(self._reported, consignment), None, 0, headers)
        except BufferError:
            consignment.sent = at
            if not at:
                del self._open[consignment]
            return False
        except KafkaException as error:
            self._reported(consignment, error.args[0], None)
        return True

    async def send(self, what: Record | Consignment) -> None:
        """Hand a record or a consignment to the producer; wait while its queue is full."""
        while not self.offer(what):
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Serve delivery reports, and send again what failed, until cancelled.

        Raises:
            DeliveryBrokenError: If the producer must be replaced.
        """
        while True:
            try:
                self._producer.poll(0)
            except KafkaException as error:  # of a fatal error poll itself may tell
                self._broken = error.args[0]
            self._room.set()
            if self._broken is not None:
                raise DeliveryBrokenError(f"Kafka's producer is broken for good: {self._broken.str()}")
            if self._failures and time.monotonic() > self._failures_told_at + FAILURES_SECONDS:
                self._failures_told_at = time.monotonic()
                log.error("Kafka did not take records; sending them again", extra={"records": self._failures})
                self._failures = {}
            self._watch_the_oldest()
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
        # The report of a consignment may have come to nobody, or its last record not have had room yet.
        for consignment in [*self._open]:
            self._give_back(consignment)
        self.undelivered.extend(self._again)
        self._again.clear()

    def _take_out_oversized(self, consignment: Consignment) -> None:
        """Refuse what the producer would refuse at once: it must not take along the report of those before it."""
        if max(map(len, consignment.values)) > LARGEST_VALUE_BYTES:
            error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
            for record in consignment.records():
                if len(record.value) > LARGEST_VALUE_BYTES:
                    self._refused(record, error.str())
            consignment.values = [value for value in consignment.values if len(value) <= LARGEST_VALUE_BYTES]

    def _reported(self, consignment: Consignment, error: KafkaError | None, _last: Message | None) -> None:
        """Take note of what became of a consignment."""
        if consignment not in self._open:
            return  # it has been given back
        del self._open[consignment]
        if error is not None:
            self._failed(consignment, error)
            return
        self.delivered += len(consignment.values)
        self._metrics.delivery_seconds.observe(time.monotonic() - consignment.sent_at)
        consignment.acknowledged()

    def _failed(self, consignment: Consignment, error: KafkaError) -> None:
        """Send its records again, each by itself, or hand them over, as the error has it."""
        if self.has_given_up or error.code() in PURGED:
            self._give_back(consignment)
            return
        if error.fatal():
            self._broken = error
        elif error.code() in REFUSED and len(consignment.values) == 1:
            self._refused(consignment.records()[0], error.str())
            return
        if not consignment.like.is_superseded_if_lost:
            self._again.extend(consignment.records())
            self._metrics.redelivered.inc(len(consignment.values))
        self._failures[error.str()] = self._failures.get(error.str(), 0) + len(consignment.values)

    def _give_back(self, consignment: Consignment) -> None:
        self._open.pop(consignment, None)
        self.undelivered.extend(consignment.records())
        consignment.values = []  # whoever waits for room offers it again

    def _watch_the_oldest(self) -> None:
        """Note how long it has waited, for any thread, and say now and then that this is too long."""
        oldest = next(iter(self._open), None)
        self._oldest_sent_at = math.inf if oldest is None else oldest.sent_at
        seconds = self.waiting_seconds
        if seconds > self._patience_seconds and time.monotonic() > self._late_told_at + QUIET_SECONDS:
            self._late_told_at = time.monotonic()
            facts = {"records": self.outstanding, "seconds": round(seconds, 1)}
            log.error("Kafka does not acknowledge in time; all that was sent waits for it", extra=facts)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._broken = error
        # A broker that is away is reported at every attempt to reach it, several times a second.
        if time.monotonic() - self._told_at.get(error.code(), -math.inf) > QUIET_SECONDS:
            self._told_at[error.code()] = time.monotonic()
            log.warning("Kafka's client is in trouble", extra={"reason": error.str(), "waiting": self.outstanding})

"""Is an hour wholly in Bronze? Kafka's timestamps cannot say; the producers' progress and the writer's offsets can."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from include.contracts import bronze, topics
from include.contracts.topics import OF_PAST, Topic, topics_of
from include.orchestration.hours import Hour

ANSWER_S = 10.0
"""Longest wait for one answer of the broker."""

SETTLED: tuple[tuple[Topic, str], ...] = (
    *((topic, bronze.TRADES.full_name) for topic in topics_of(bronze.TRADES.full_name)),
    *((topic, bronze.DEAD_LETTERS.full_name) for topic in topics_of(bronze.TRADES.full_name)),
    *((topic, bronze.DEAD_LETTERS.full_name) for topic in topics_of(bronze.DEAD_LETTERS.full_name)),
    (topics.PROGRESS, bronze.INGESTION_PROGRESS.full_name),
    # How a gap ended is told before the progress that passes it: without it the ledger would change with a rebuild.
    (topics.EVENTS, bronze.INGESTION_EVENTS.full_name),
)
"""What must be in Bronze before an hour is made from it: topics, and the group that says how far a table is in them.

A record of the raw topic is a trade or a dead letter, so both tables must have come past it.
"""

Offsets = dict[str, dict[int, int]]
"""The first offset that is not meant, by topic and partition."""
OffsetsAsText = dict[str, dict[str, int]]


class HourNotCoveredError(Exception):
    """The hour lies before the lake's first."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one product was wholly acknowledged.

    Args:
        covered_from: The exchange time from which the product has been followed.
        closed_through: Every trade before this exchange time that can be had is in Kafka.
    """

    covered_from: datetime
    closed_through: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """What the producers say of an hour, by product.

    Args:
        waiting: Products that are not closed through the hour's end, and may still be.
        silent: Products that have said nothing while the others went on past the limit of silence.
        uncovered: Products that were followed only from some later time on; the hour is not vouched for by them, and
            goes on without those that were not followed in it at all.
    """

    waiting: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    uncovered: tuple[str, ...] = ()


def of_hour(said: Mapping[str, Progress], hour: Hour) -> dict[str, Progress]:
    """Return the word on each product that counts for an hour: its producer's, or that of history fetched later.

    Args:
        said: The newest progress by key.
    """
    past = {key.removesuffix(OF_PAST): word for key, word in said.items() if key.endswith(OF_PAST)}
    followed = {key: word for key, word in said.items() if not key.endswith(OF_PAST)}
    return followed | {product: word for product, word in past.items() if hour.end <= word.closed_through}


def covered_from(said: Mapping[str, Progress]) -> dict[str, datetime]:
    """Return from when on each product is covered, the history before its producer's start included.

    Args:
        said: The newest progress by key.
    """
    followed = {key: word for key, word in said.items() if not key.endswith(OF_PAST)}
    return {
        product: past.covered_from
        if (past := said.get(product + OF_PAST)) and past.closed_through >= word.covered_from
        else word.covered_from
        for product, word in followed.items()
    }


def read_progress(bootstrap: str) -> dict[str, Progress]:
    """Return the newest progress by key.

    Raises:
        KafkaException: If the broker does not answer.
    """
    log = TopicLog(bootstrap, topics.PROGRESS)
    try:
        return {key: _read_progress(value) for key, value in log.new_records()}
    finally:
        log.close()


def standing(
    progress: Mapping[str, Progress], products: Sequence[str], hour: Hour, silence_limit: timedelta
) -> Standing:
    """Say which products an hour still waits for.

    Silence is measured by the exchange's clock, on the products that do speak: when none speaks, it is the connection
    or the producer that is at fault, and the hour waits for their return.

    Args:
        progress: The newest word on each product that has been heard of.
        products: The products that are to be followed.
        hour: The hour in question.
        silence_limit: How far the others must have come past the hour's end for a product to be given up.

    Raises:
        HourNotCoveredError: If none of the products was followed so early.
    """
    covered = {name: said for name, said in progress.items() if said.covered_from <= hour.start}
    in_part = {name: said for name, said in progress.items() if said.covered_from < hour.end}
    unheard = [name for name in products if name not in progress]
    uncovered = [name for name in products if name in progress and name not in covered]
    if uncovered and not unheard and not any(name in covered for name in products):
        first = min(progress[name].covered_from for name in uncovered)
        raise HourNotCoveredError(
            f"hour {hour} lies before the lake's first: its products are followed from {first:%Y-%m-%dT%H:%MZ} on; "
            "fetch the history of that hour first, with streaming_control"
        )
    newest = max((said.closed_through for said in in_part.values()), default=hour.start)
    late = [name for name in products if name in in_part and in_part[name].closed_through < hour.end] + unheard
    given_up = newest >= hour.end + silence_limit
    return Standing(
        waiting=() if given_up else tuple(late),
        silent=tuple(late) if given_up else (),
        uncovered=tuple(uncovered),
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why an hour was held to be wholly in Bronze.

    Args:
        offsets: Bronze holds every record before these.
        closed_through: What each product said when the hour was let through, ISO 8601.
    """

    hour: str
    offsets: Offsets
    closed_through: dict[str, str]
    silent: list[str]
    uncovered: list[str]

    def as_json(self) -> dict[str, Any]:
        """Give the evidence as JSON can carry it: partitions as text."""
        return asdict(self) | {"offsets": as_text(self.offsets)}


def as_text(offsets: Offsets) -> OffsetsAsText:
    """Give offsets as JSON can carry them: partitions as text."""
    return {topic: {str(part): end for part, end in ends.items()} for topic, ends in offsets.items()}


def of_text(offsets: OffsetsAsText) -> Offsets:
    """Read offsets from JSON."""
    return {topic: {int(part): end for part, end in ends.items()} for topic, ends in offsets.items()}


@dataclass
class HourWatch:
    """Looks, again and again, whether one hour is wholly in Bronze. Blocking; one thread at a time.

    Args:
        bootstrap: The broker, `host:port`.
        products: Names of the products to wait for, `venue/market/product_id`.
    """

    bootstrap: str
    products: tuple[str, ...]
    hour: Hour
    silence_limit: timedelta
    ends: Offsets | None = None
    """Where the topics ended at a moment when the hour was closed; None until it was seen to be."""
    status: str = "not looked yet"
    """What the hour waits for, in words, as of the last look."""
    _progress: dict[str, Progress] = field(default_factory=dict)
    _is_closed: bool = False
    _standing: Standing = field(default_factory=Standing)

    def __post_init__(self) -> None:
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self._log = TopicLog(self.bootstrap, topics.PROGRESS)

    def close(self) -> None:
        """Let go of the broker."""
        self._log.close()

    def look(self) -> Evidence | None:
        """Return the evidence if the hour is wholly in Bronze, else None, and say in `status` what it waits for.

        Raises:
            HourNotCoveredError: If the hour lies before the lake's first.
            KafkaException: If the broker does not answer.
        """
        if not self._is_closed:
            for key, value in self._log.new_records():
                self._progress[key] = _read_progress(value)
            said = of_hour(self._progress, self.hour)
            self._standing = standing(said, self.products, self.hour, self.silence_limit)
            if self._standing.waiting:
                waiting = ", ".join(map(self._describe, self._standing.waiting))
                self.status = f"{self.hour} is not closed yet: {waiting}"
                return None
            self._is_closed = True
        if self.ends is None:
            # Taken after the hour was closed: whatever it holds lies before these.
            self.ends = end_offsets(self._admin, {topic for topic, _ in SETTLED})
        missing = behind(self._admin, self.ends)
        if missing:
            self.status = f"{self.hour} is closed; Bronze still has to commit {missing}"
            return None
        self.status = f"{self.hour} is wholly in Bronze"
        return Evidence(
            hour=self.hour.key,
            offsets=self.ends,
            closed_through={
                name: said.closed_through.isoformat()
                for name, said in sorted(of_hour(self._progress, self.hour).items())
            },
            silent=list(self._standing.silent),
            uncovered=list(self._standing.uncovered),
        )

    def _describe(self, product: str) -> str:
        said = self._progress.get(product)
        return f"{product} {f'closed through {said.closed_through:%Y-%m-%dT%H:%M:%SZ}' if said else 'not heard of'}"


@contextmanager
def hour_watch(
    bootstrap: str,
    products: Iterable[tuple[str, str, str]],
    hour: Hour,
    silence_limit: timedelta,
    ends: Offsets | None = None,
) -> Iterator[HourWatch]:
    """Open a watch on one hour, for products by venue, market and name; `ends` from an earlier watch on it."""
    watch = HourWatch(bootstrap, tuple(map("/".join, products)), hour, silence_limit, ends)
    try:
        yield watch
    finally:
        watch.close()


def _read_progress(value: bytes) -> Progress:
    record = json.loads(value)
    return Progress(_instant(record["covered_from"]), _instant(record["closed_through"]))


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"progress of {text} has no time zone")
    return moment


class TopicLog:
    """A topic read from an offset of each partition, and then on from where it was left.

    Args:
        bootstrap: The broker, `host:port`.
        since: The first offset that is read; what the topic does not keep any more is passed over.
    """

    def __init__(self, bootstrap: str, topic: Topic, since: int = 0) -> None:
        # The group is never committed to; the client refuses to work without one.
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "hour-watch",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        self._next = dict.fromkeys(range(topic.partitions), since)
        self._topic = topic.name
        first = since or OFFSET_BEGINNING
        self._consumer.assign([TopicPartition(topic.name, part, first) for part in self._next])

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()

    @property
    def position(self) -> int:
        """The offset after the last record that was read, of a topic with one partition."""
        return self._next[0]

    def new_records(self) -> Iterator[tuple[str, bytes]]:
        """Yield key and value of each record up to the present end of the topic.

        Raises:
            KafkaException: If the broker does not answer.
        """
        ends = {}
        for part in self._next:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, part), timeout=ANSWER_S)
            ends[part] = high if high > low else 0
        deadline = time.monotonic() + ANSWER_S
        while any(self._next[part] < end for part, end in ends.items()):
            messages = self._consumer.consume(num_messages=1000, timeout=0.5)
            for message in messages:
                if error := message.error():
                    raise KafkaException(error)
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                assert offset is not None
                self._next[partition] = offset + 1
                key, value = message.key(), message.value()
                if key is not None and value is not None:
                    yield bytes(key).decode(), bytes(value)
            if messages:
                deadline = time.monotonic() + ANSWER_S
            elif time.monotonic() > deadline:
                silence = f"{self._topic} gave no record for {ANSWER_S} s"
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, silence))


def end_offsets(admin: AdminClient, of: Iterable[Topic]) -> Offsets:
    """Return the offset that each partition's next record will have.

    Raises:
        KafkaException: If the broker does not answer.
    """
    asked = {TopicPartition(topic.name, part): OffsetSpec.latest() for topic in of for part in range(topic.partitions)}
    ends: Offsets = {}
    for partition, answer in admin.list_offsets(asked, request_timeout=ANSWER_S).items():
        ends.setdefault(partition.topic, {})[partition.partition] = answer.result(ANSWER_S).offset
    return ends


def committed_offsets(admin: AdminClient, topic: Topic, group: str) -> dict[int, int]:
    """Return, by partition, the offset before which a consumer group has taken every record of a topic.

    Raises:
        KafkaException: If the broker does not answer.
    """
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic.name, part) for part in range(topic.partitions)])
    answer = admin.list_consumer_group_offsets([asked], request_timeout=ANSWER_S)[group].result(ANSWER_S)
    # Without a commit the offset is negative.
    return {done.partition: max(done.offset, 0) for done in answer.topic_partitions or ()}


def behind(admin: AdminClient, ends: Offsets) -> str:
    """Say which records before `ends` the Bronze writer has not committed yet; empty if none.

    Raises:
        KafkaException: If the broker does not answer.
    """
    late = []
    for topic, group in SETTLED:
        if topic.name not in ends:
            continue
        for part, done in committed_offsets(admin, topic, group).items():
            if (lag := ends[topic.name][part] - done) > 0:
                late.append(f"{lag} records of {topic.name}/{part} to {group}")
    return ", ".join(late)

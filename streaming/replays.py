"""Replay dead letters: `python -m streaming.replays`, their places on standard input, `coinbase.dlq/0/17`, one a line.

Each letter is read by today's parser, and what can be read goes to the raw topic as the producer would have sent it;
what cannot stays. Its log tells what became of each letter.

Each letter goes exactly once, whatever is killed. Before its records are sent, the topic `ingestion.replays` says that
it is begun, and where the raw topic ended at that moment; when they are acknowledged, that it is done. Each record says
in its header `replay_of` which letter it was. A replay that finds a letter begun and not done looks in the raw topic,
from that place on, for what has arrived, and sends the rest. One process at a time does this, by its lease.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby, islice
from typing import Literal, NamedTuple, TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from include.contracts.topics import REPLAYS, TOPICS, Header
from include.lease import Lease, LeaseTakenError
from include.logs import log_as_json
from include.settings import Settings
from streaming.bybit import letters as bybit
from streaming.coinbase import letters as coinbase
from streaming.coingecko import letters as coingecko
from streaming.delivery import MAX_RECORD_BYTES
from streaming.failures import RefusalError
from streaming.letters import Letter, Piece, Place, Reread, StillUnreadableError, check_headers
from streaming.progress import iso
from streaming.records import Headers
from streaming.resume import records_of

log = logging.getLogger("streaming.replays")

REREAD: Mapping[str, Reread] = {"bybit": bybit.reread, "coinbase": coinbase.reread, "coingecko": coingecko.reread}
"""Who reads a letter, by the first word of its topic."""
LEASE = "replays"
BATCH = 500
"""Letters that are begun, sent and done together."""
SETTLE_SECONDS = 5.0
"""How long after the end of an attempt all that it sent is in its topic: what a process that was killed left in the
sockets of this machine reaches the broker within milliseconds."""
ANSWER_SECONDS = 30.0
UNKNOWN = "it was begun so long ago that Kafka does not show any more whether it was sent: look for it in Bronze"

Fate = Literal["replayed", "replayed before", "stays", "gone"]
"""What became of a letter; `gone` if Kafka does not hold it any more."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How far the replay of a letter has come, as `ingestion.replays` has it by the letter's place.

    Args:
        topic: Where its records go; None if it has none.
        count: How many they are.
        since: By partition, as text, where that topic ended before the first was sent.
        hours: Of its trades, `2026-11-20T09`.
        at: Our clock, UTC, as text.
    """

    state: Literal["begun", "done"]
    topic: str | None
    count: int
    since: dict[str, int] = {}
    hours: tuple[str, ...] = ()
    at: str


class Told(NamedTuple):
    """What became of a letter.

    Args:
        reason: Why it stays.
        hours: The hours of its trades, `2026-11-20T09`.
        at: When its replay was done, if that was before; our clock, UTC, as text.
    """

    place: Place
    fate: Fate
    reason: str = ""
    hours: tuple[str, ...] = ()
    at: str = ""


class _Work(NamedTuple):
    """A letter and the records that it becomes.

    Args:
        arrived: Places in the frame of those that are in the raw topic already.
    """

    letter: Letter
    pieces: list[Piece]
    hours: tuple[str, ...]
    arrived: frozenset[int] = frozenset()


class Replayer:
    """Replays letters through one broker.

    Args:
        bootstrap: `host:port`.
        followed: Venue, market and product of all that is followed.
        settle_seconds: See `SETTLE_SECONDS`.
    """

    def __init__(self, bootstrap: str, followed: Iterable[tuple[str, str, str]], settle_seconds: float) -> None:
        self._bootstrap = bootstrap
        self._followed = frozenset(followed)
        self._settle_seconds = settle_seconds
        self._failures: list[str] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "streaming.replays",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
            }
        )
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "replays",
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "message.max.bytes": MAX_RECORD_BYTES,
                "message.timeout.ms": int(ANSWER_SECONDS * 1000),
            }
        )

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()

    def replay(self, places: Iterable[Place]) -> Iterator[Told]:
        """Replay letters, after those that an earlier replay has begun; yield what became of each.

        Raises:
            RefusalError: If Kafka does not answer, or does not acknowledge.
        """
        marks = self._marks()
        begun = {place: mark for place, mark in marks.items() if mark.state == "begun"}
        if begun:
            yield from self._finish(begun)
        wanted = sorted(set(places))
        for place in wanted:
            if place in marks and place not in begun:
                yield Told(place, "replayed before", hours=marks[place].hours, at=marks[place].at)
        read = self._read_again(place for place in wanted if place not in marks)
        while batch := list(islice(read, BATCH)):
            yield from (told for told in batch if isinstance(told, Told))
            work = [one for one in batch if isinstance(one, _Work)]
            self._mark("begun", work, self._ends(work))
            yield from self._send(work)

    def _marks(self) -> dict[Place, Mark]:
        records = records_of(REPLAYS, self._bootstrap)
        newest = {key: value for key, value in records if key is not None and value is not None}
        return {Place.of(key): msgspec.json.decode(value, type=Mark) for key, value in newest.items()}

    def _finish(self, begun: Mapping[Place, Mark]) -> Iterator[Told]:
        """Send what an attempt that was cut off has not sent."""
        # The lease is ours, so whoever began them has ended.
        time.sleep(self._settle_seconds)
        since = self._since(begun.values())
        unknown = {
            topic for (topic, partition), offset in since.items() if self._watermarks(topic, partition)[0] > offset
        }
        arrived = self._arrived(since)
        work = []
        for one in self._read_again(begun):
            place = one.letter.place if isinstance(one, _Work) else one.place
            there = arrived.get(str(place), frozenset())
            if len(there) == begun[place].count:
                # It is wholly there; what today's parser would make of it does not matter any more.
                work.append(_Work(Letter(place, "", b"", {}), [], begun[place].hours, there))
            elif isinstance(one, Told):
                yield one
            elif begun[place].topic in unknown:
                yield Told(place, "stays", UNKNOWN)
            else:
                work.append(one._replace(arrived=there))
        log.info("an earlier replay was cut off and is finished", extra={"letters": len(work)})
        yield from self._send(work)

    def _read_again(self, places: Iterable[Place]) -> Iterator[_Work | Told]:
        """Read letters from Kafka and by today's parser."""
        by_partition = groupby(sorted(places), key=lambda place: place[:2])
        for (topic, partition), group in by_partition:
            for place, letter in self._letters(topic, partition, [place.offset for place in group]):
                if letter is None:
                    yield Told(place, "gone", "Kafka does not keep it any more")
                    continue
                try:
                    pieces = self._reread(letter)
                    yield _Work(letter, pieces, _hours(pieces))
                except StillUnreadableError as error:
                    yield Told(place, "stays", str(error))

    def _reread(self, letter: Letter) -> list[Piece]:
        venue = letter.place.topic.partition(".")[0]
        if venue not in REREAD:
            raise StillUnreadableError(f"nobody reads letters of {letter.place.topic}")
        check_headers(letter)
        market = letter.header(Header.MARKET)
        followed = {product for one, section, product in self._followed if (one, section) == (venue, market)}
        return REREAD[venue](letter, followed)

    def _letters(self, topic: str, partition: int, offsets: list[int]) -> Iterator[tuple[Place, Letter | None]]:
        """Yield each letter of a partition; None for what is not there."""
        low, high = self._watermarks(topic, partition)
        there = [offset for offset in offsets if low <= offset < high]
        for offset in sorted(set(offsets) - set(there)):
            yield Place(topic, partition, offset), None
        position = -1
        for offset in there:
            if offset != position:
                self._consumer.assign([TopicPartition(topic, partition, offset)])
            place, position = Place(topic, partition, offset), offset + 1
            message = self._consumer.poll(ANSWER_SECONDS)
            if message is None or message.error() is not None:
                raise RefusalError(f"Kafka does not give {place}: {message and message.error()}")
            key = (message.key() or b"").decode(errors="replace")
            # An offset that compaction or a transaction took is passed over by the broker.
            found = message.offset() == offset
            position = position if found else -1
            headers = _implied(topic) | _headers(message)
            yield place, Letter(place, key, message.value() or b"", headers) if found else None

    def _since(self, marks: Iterable[Mark]) -> dict[tuple[str, int], int]:
        """Return from where on each partition may hold records of letters that were begun."""
        since: dict[tuple[str, int], int] = {}
        partitions: dict[str, list[int]] = {}
        for topic, mark in ((mark.topic, mark) for mark in marks if mark.topic):
            if topic not in partitions:
                partitions[topic] = self._partitions(topic)
            for partition in partitions[topic]:
                # A partition that came later is read from its beginning.
                offset = mark.since.get(str(partition), 0)
                since[topic, partition] = min(offset, since.get((topic, partition), offset))
        return since

    def _arrived(self, since: Mapping[tuple[str, int], int]) -> dict[str, frozenset[int]]:
        """Return which records of each letter are in the raw topics, by their place in the frame."""
        found: dict[str, set[int]] = {}
        for (topic, partition), first in since.items():
            for letter, frame_index in self._replayed(topic, partition, first):
                found.setdefault(letter, set()).add(frame_index)
        return {letter: frozenset(indexes) for letter, indexes in found.items()}

    def _replayed(self, topic: str, partition: int, since: int) -> Iterator[tuple[str, int]]:
        """Yield letter and place in the frame of each replayed record of a partition, to the end that it has now."""
        low, high = self._watermarks(topic, partition)
        first = max(since, low)
        if first >= high:
            return
        self._consumer.assign([TopicPartition(topic, partition, first)])
        while (message := self._consumer.poll(ANSWER_SECONDS)) is not None:
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return
                raise RefusalError(f"Kafka does not give {topic}/{partition}: {error}")
            headers = _headers(message)
            if letter := headers.get(Header.REPLAY_OF.value):
                yield letter.decode(), int(headers[Header.FRAME_INDEX.value])
        raise RefusalError(f"Kafka does not give {topic}/{partition} to its end: see whether the broker is well")

    def _send(self, work: list[_Work]) -> Iterator[Told]:
        """Send what has not arrived; when all of it is acknowledged, say that the letters are done."""
        for one in work:
            for piece in one.pieces:
                if piece.frame_index not in one.arrived:
                    self._produce(piece.topic, piece.key, piece.value, piece.headers(one.letter))
        self._flush()
        self._mark("done", work, {})
        yield from (Told(one.letter.place, "replayed", hours=one.hours) for one in work)

    def _mark(self, state: Literal["begun", "done"], work: list[_Work], ends: Mapping[str, dict[str, int]]) -> None:
        at = iso(datetime.now(UTC))
        for one in work:
            topic = one.pieces[0].topic if one.pieces else None
            count, since = max(len(one.pieces), len(one.arrived)), ends.get(topic or "", {})
            mark = Mark(state=state, topic=topic, count=count, since=since, hours=one.hours, at=at)
            self._produce(REPLAYS.name, str(one.letter.place), msgspec.json.encode(mark), [])
        self._flush()

    def _ends(self, work: Iterable[_Work]) -> dict[str, dict[str, int]]:
        topics = {piece.topic for one in work for piece in one.pieces}
        partitions = {topic: self._partitions(topic) for topic in topics}
        return {
            topic: {str(number): self._watermarks(topic, number)[1] for number in numbers}
            for topic, numbers in partitions.items()
        }

    def _partitions(self, topic: str) -> list[int]:
        return list(_asked(lambda: self._consumer.list_topics(topic, timeout=ANSWER_SECONDS)).topics[topic].partitions)

    def _watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        where = TopicPartition(topic, partition)
        return _asked(lambda: self._consumer.get_watermark_offsets(where, timeout=ANSWER_SECONDS))

    def _produce(self, topic: str, key: str, value: bytes, headers: Headers) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=self._reported, headers=list(headers))
                return
            except BufferError:
                self._producer.poll(0.1)

    def _reported(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self._failures.append(error.str())

    def _flush(self) -> None:
        left = self._producer.flush(ANSWER_SECONDS + 5)
        if left or self._failures:
            reasons = ", ".join(sorted(set(self._failures))) or "no answer"
            raise RefusalError(
                f"Kafka did not acknowledge {left or len(self._failures)} records ({reasons}): do it again"
            )


def _hours(pieces: Iterable[Piece]) -> tuple[str, ...]:
    times = (piece.time.astimezone(UTC) for piece in pieces if piece.time is not None)
    return tuple(sorted({f"{at:%Y-%m-%dT%H}" for at in times}))


def _implied(topic: str) -> dict[str, bytes]:
    """Return what a record of a topic means by leaving headers out."""
    [implied] = [of.implied for of in TOPICS if of.name == topic]
    return {header.value: text.encode() for header, text in implied.items()}


def _headers(message: Message) -> dict[str, bytes]:
    pairs = message.headers()
    return {name: value for name, value in dict(pairs or ()).items() if isinstance(value, bytes)}


T = TypeVar("T")


def _asked(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except KafkaException as error:
        raise RefusalError(f"Kafka does not answer: {error}") from error


def replay(settings: Settings, places: Iterable[Place]) -> None:
    """Replay letters as the only one who does, and tell of each.

    Raises:
        LeaseTakenError: If another replay is under way.
        RefusalError: If Kafka does not answer, or does not acknowledge.
    """
    with Lease(settings.state_dir, LEASE):
        replayer = Replayer(settings.kafka.address, settings.followed, SETTLE_SECONDS)
        try:
            for told in replayer.replay(places):
                facts = {"letter": str(told.place), "reason": told.reason, "hours": told.hours, "at": told.at}
                log.info(told.fate, extra=facts)
        finally:
            replayer.close()


def main() -> None:
    """Be the process: exit with 0 when all letters were dealt with, else with one sentence that says what to do."""
    log_as_json()
    try:
        replay(Settings.load(), [Place.of(line.strip()) for line in sys.stdin if line.strip()])
    except (LeaseTakenError, RefusalError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

"""The long-lived services that bring trades in: which they are, how they fare, and what is wrong with them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

import httpx
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from include import scale
from include.contracts import bronze, topics
from include.contracts.topics import Topic, topics_of
from include.orchestration.evidence import TopicLog, committed_offsets, end_offsets
from include.settings import Endpoint, Settings

WRITER = "bronze-writer"
PRODUCERS: Mapping[str, str] = {
    "coinbase": "producer-coinbase",
    "bybit": "producer-bybit",
    "coingecko": "producer-coingecko",
}
"""The service that follows each venue."""
SERVICES = (WRITER, *PRODUCERS.values())
FETCH_HISTORY = "fetch history"
ACTIONS = ("pause", "resume", "drain", "restart", "scale", FETCH_HISTORY)
"""What a person can want of the services."""
MOST_CORES = 16
"""With how many the Bronze writer may be asked to run: more tasks than its topics have partitions find no work."""

DRIFT_GROUP = "streaming_supervisor.drift"
"""The consumer group whose offset says how far people were told of drift."""
DRIFT_KINDS = (b'"new_field"', b'"changed_type"', b'"retyped_field"')
"""As the events of drift have it in their `kind`."""

ANSWER_S = 5.0

Facts = dict[str, Any]
"""What a check has read, as JSON can carry it."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A service that does not do its work, and how that shows."""

    service: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a check has seen at one moment.

    Args:
        has_news: Whether somebody should hear of it now and not at the end of the round.
    """

    facts: Facts
    troubles: tuple[Trouble, ...] = ()
    has_news: bool = False

    def as_json(self) -> dict[str, Any]:
        """Give the reading as JSON can carry it."""
        return {"facts": self.facts, "troubles": [[trouble.service, trouble.reason] for trouble in self.troubles]}


class Check(Protocol):
    """One thing to look at again and again; it remembers what it saw before. Blocking."""

    def look(self) -> Reading:
        """Look now."""


class Stillness:
    """Since when things have not changed, by a clock of our own: no other clock need be right.

    Args:
        limit: How long a thing may stay as it is.
        clock: Seconds that only grow.
    """

    def __init__(self, limit: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit.total_seconds()
        self._clock = clock
        self._seen: dict[str, tuple[object, float]] = {}

    def is_too_long(self, name: str, value: object, besides: timedelta = timedelta(0)) -> bool:
        """Take note of a thing's value; return whether it has had it for longer than the limit.

        Args:
            besides: What this thing may take longer than others.
        """
        now = self._clock()
        if name not in self._seen or self._seen[name][0] != value:
            self._seen[name] = (value, now)
        return now - self._seen[name][1] > self._limit + besides.total_seconds()


@dataclass(frozen=True, slots=True)
class Backlog:
    """What of a topic the Bronze writer has not committed yet.

    Args:
        waiting: How many records.
        committed: By partition, the offset before which all are.
    """

    waiting: int
    committed: Mapping[int, int]


class LagCheck:
    """Does the Bronze writer come on while records wait for it? How many wait is told, and is no fault by itself.

    Args:
        read: Reads the backlog of each topic.
        intervals: How often the writer commits what each topic has.
        limit: How long records may wait beyond that without any being committed.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[str, Backlog]],
        intervals: Mapping[str, timedelta],
        limit: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._intervals = intervals
        self._still = Stillness(limit, clock)

    def look(self) -> Reading:
        """Compare each topic's end with what its consumer group has committed.

        Raises:
            KafkaException: If the broker does not answer.
        """
        backlogs = self._read()
        stuck = [
            f"{backlog.waiting} records of {topic}"
            for topic, backlog in backlogs.items()
            if self._is_stuck(topic, backlog)
        ]
        troubles = (Trouble(WRITER, f"{', '.join(stuck)} wait and none is committed"),) if stuck else ()
        return Reading({"records_behind": {topic: backlog.waiting for topic, backlog in backlogs.items()}}, troubles)

    def _is_stuck(self, topic: str, backlog: Backlog) -> bool:
        # While nothing waits, standing still is no fault: the value then changes with the time.
        value = sorted(backlog.committed.items()) if backlog.waiting else object()
        return self._still.is_too_long(topic, value, self._intervals[topic])


@dataclass(frozen=True, slots=True)
class Commit:
    """The newest commit to a table.

    Args:
        at: When it was made; None before the first.
        is_awaited: Whether records wait for the next one.
    """

    at: datetime | None
    is_awaited: bool


class CommitCheck:
    """How old is the last commit to Bronze while trades wait for one?

    Args:
        read: Reads the newest commit to `bronze.trades`.
        interval: How often the writer commits.
        limit: The age beyond that from which it is a fault.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        read: Callable[[], Commit],
        interval: timedelta,
        limit: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._interval = interval
        self._still = Stillness(limit, clock)

    def look(self) -> Reading:
        """Read the newest snapshot of `bronze.trades`.

        Raises:
            KafkaException: If the broker does not answer.
            Exception: Whatever pyiceberg raises when the catalog does not.
        """
        newest, name = self._read(), bronze.TRADES.full_name
        is_old = self._still.is_too_long(name, newest.at if newest.is_awaited else object(), self._interval)
        facts = {"last_commit": newest.at.isoformat() if newest.at else None}
        reason = f"trades wait, and the last commit to {name} is of {newest.at or 'never'}"
        return Reading(facts, (Trouble(WRITER, reason),) if is_old else ())


class FeedCheck:
    """Does each venue's producer hear anything, and how old is the last trade of each product?

    A venue sends heartbeats every second, so silence is a fault; a product without trades is none. A venue that is
    polled is silent until its next request is due.

    Args:
        metrics: Where each venue's producer tells its metrics.
        limit: How long a producer may hear nothing, or not answer.
    """

    def __init__(self, metrics: Mapping[str, Endpoint], limit: timedelta) -> None:
        self._metrics = metrics
        self._still = Stillness(limit)
        self._before: dict[str, tuple[float, float]] = {}

    def look(self) -> Reading:
        """Ask each producer."""
        facts: Facts = {}
        troubles = []
        for venue, endpoint in self._metrics.items():
            try:
                told = httpx.get(f"{endpoint.url}/metrics", timeout=ANSWER_S).raise_for_status().text
            except httpx.HTTPError as error:
                facts[venue] = {"answers": False}
                heard, fault = None, f"does not answer at {endpoint.address}: {error}"
            else:
                facts[venue] = self._facts(venue, told)
                heard, fault = facts[venue]["frames"], "has heard nothing from the venue"
                if (facts[venue]["next_request_in"] or 0) > 0:
                    heard = object()
            if self._still.is_too_long(venue, heard):
                troubles.append(Trouble(PRODUCERS[venue], fault))
        return Reading(facts, tuple(troubles))

    def _facts(self, venue: str, told: str) -> Facts:
        samples = [sample for family in text_string_to_metric_families(told) for sample in family.samples]
        now = time.time()
        frames = sum(sample.value for sample in samples if sample.name == "ingestion_frames_total")
        delivered = sum(sample.value for sample in samples if sample.name == "ingestion_delivered_records_total")
        then, before = self._before.get(venue, (now, delivered))
        self._before[venue] = (now, delivered)
        due = next((sample.value for sample in samples if sample.name == "ingestion_next_request_seconds"), None)
        return {
            "answers": True,
            "next_request_in": round(due - now, 1) if due is not None else None,
            "frames": int(frames),
            "records_per_second": round((delivered - before) / (now - then), 1) if now > then else None,
            "heard_seconds_ago": {
                product: round(now - at, 1) for product, at in _by_product(samples, "last_exchange_time_seconds")
            },
            "last_trade_id": {product: int(number) for product, number in _by_product(samples, "last_trade_id")},
        }


class DriftCheck:
    """Did a producer tell of fields that are new, or of another type, since a supervisor told people of such?

    How far they were told is the committed offset of a consumer group, so that nothing is told twice over restarts.
    """

    def __init__(self, settings: Settings) -> None:
        self._bootstrap = settings.kafka.address
        self._log: TopicLog | None = None
        self._found: dict[tuple[str, ...], Facts] = {}

    def look(self) -> Reading:
        """Read what has been told since.

        Raises:
            KafkaException: If the broker does not answer.
        """
        if self._log is None:
            admin = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})
            [told_through] = committed_offsets(admin, topics.EVENTS, DRIFT_GROUP).values()
            self._log = TopicLog(self._bootstrap, topics.EVENTS, told_through)
        for _, value in self._log.new_records():
            if any(kind in value for kind in DRIFT_KINDS):
                self._note(json.loads(value))
        drift = [*self._found.values()]
        return Reading({"drift": drift, "drift_told_through": self._log.position}, has_news=bool(drift))

    def _note(self, event: Facts) -> None:
        """Add an event to those of the same field."""
        told = {name: event.get(name) for name in ("kind", "venue", "message_type", "field", "expected", "got")}
        found = self._found.setdefault(tuple(map(str, told.values())), told | {"count": 0})
        found["count"] += event.get("count") or 0


def drift_in_words(drift: Mapping[str, Any]) -> str:
    """Say what differs, as an alert does."""
    what = f"{drift['venue']}: {drift['message_type']}"
    if drift["kind"] == "new_field":
        return f"{what} has a new field {drift['field']} ({drift['got']}); frames are kept with it as received"
    if drift["kind"] == "retyped_field":
        return (
            f"{what} has another type in {drift['field']}, {drift['got']} where {drift['expected']} was before; "
            "frames are kept with it as received"
        )
    return (
        f"{what} has another type in {drift['field']}, {drift['got']} where {drift['expected']} was expected: "
        f"{drift['count']} frames became dead letters"
    )


def drift_was_told(settings: Settings, through: int) -> None:
    """Keep how far people were told of drift.

    Args:
        through: The offset of the first event that was not looked at.

    Raises:
        KafkaException: If the broker does not take it.
    """
    admin = AdminClient({"bootstrap.servers": settings.kafka.address, "log_level": 0})
    told = ConsumerGroupTopicPartitions(DRIFT_GROUP, [TopicPartition(topics.EVENTS.name, 0, through)])
    admin.alter_consumer_group_offsets([told], request_timeout=ANSWER_S)[DRIFT_GROUP].result(ANSWER_S)


def _by_product(samples: Iterable[Sample], name: str) -> Iterator[tuple[str, float]]:
    """Yield the value of each product, by market and name."""
    return (
        (f"{sample.labels['market']}/{sample.labels['product_id']}", sample.value)
        for sample in samples
        if sample.name == f"ingestion_{name}"
    )


CHECKS = ("lag", "commits", "feeds", "drift")


def check(name: str, settings: Settings) -> Check:
    """Make the check of a name.

    Raises:
        KeyError: If there is none.
    """
    limit, often, seldom = settings.stall_limit, settings.bronze_interval, settings.bronze_quiet_interval
    intervals = {topic.name: often if topic.is_awaited else seldom for topic, _ in _streamed()}
    made: dict[str, Callable[[], Check]] = {
        "lag": lambda: LagCheck(partial(backlogs, _admin(settings)), intervals, limit),
        "commits": lambda: CommitCheck(partial(newest_commit, settings, _admin(settings)), often, limit),
        "feeds": lambda: FeedCheck(_metrics(settings), limit),
        "drift": lambda: DriftCheck(settings),
    }
    return made[name]()


def _metrics(settings: Settings) -> dict[str, Endpoint]:
    """Say where the producer of each venue that is followed tells its metrics."""
    return {
        "coinbase": settings.producer_metrics,
        **({"bybit": settings.bybit_metrics} if settings.follow_bybit else {}),
        **({"coingecko": settings.coingecko_metrics} if settings.follow_coingecko else {}),
    }


def backlogs(admin: AdminClient) -> dict[str, Backlog]:
    """Return, by topic, what the Bronze writer has not committed yet.

    Raises:
        KafkaException: If the broker does not answer.
    """
    return {topic.name: _backlog(admin, topic, group) for topic, group in _streamed()}


def newest_commit(settings: Settings, admin: AdminClient) -> Commit:
    """Return the newest commit to `bronze.trades`.

    Raises:
        KafkaException: If the broker does not answer.
        Exception: Whatever pyiceberg raises when the catalog does not.
    """
    from include.orchestration.lake import open_catalog

    name = bronze.TRADES.full_name
    is_awaited = any(_backlog(admin, topic, name).waiting for topic in topics_of(name))
    with open_catalog(settings, settings.branch) as catalog:
        newest = catalog.load_table(name).current_snapshot()
    return Commit(datetime.fromtimestamp(newest.timestamp_ms / 1000, UTC) if newest else None, is_awaited)


def _admin(settings: Settings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.kafka.address, "log_level": 0})


def _backlog(admin: AdminClient, topic: Topic, group: str) -> Backlog:
    ends, done = end_offsets(admin, [topic])[topic.name], committed_offsets(admin, topic, group)
    return Backlog(sum(max(end - done[part], 0) for part, end in ends.items()), done)


def _streamed() -> Iterable[tuple[Topic, str]]:
    return ((topic, topic.consumer_group) for topic in topics.TOPICS if topic.consumer_group)


@dataclass(frozen=True, slots=True)
class Restarts:
    """When a service was restarted lately, and what that allows.

    Args:
        at: The times, oldest first.
        limit: After so many within `window` it is left to a person.
        pause: Between the first two; each further pause is twice as long.
    """

    at: tuple[datetime, ...] = ()
    limit: int = 4
    window: timedelta = timedelta(hours=1)
    pause: timedelta = timedelta(seconds=30)

    def recent(self, now: datetime) -> tuple[datetime, ...]:
        """Return those that still count."""
        return tuple(moment for moment in self.at if now - moment < self.window)

    def is_exhausted(self, now: datetime) -> bool:
        """Whether a further restart would not help where so many have not."""
        return len(self.recent(now)) >= self.limit

    def due(self, now: datetime) -> datetime:
        """Return from when the service may be restarted."""
        recent = self.recent(now)
        return recent[-1] + self.pause * 2 ** (len(recent) - 1) if recent else now


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Which services were left to a person: each is told once, and once more when it is well again.

    Args:
        told: By service, when people were told.
    """

    told: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: Mapping[str, str]) -> GivenUp:
        """Read what `as_json` gave."""
        return cls({name: datetime.fromisoformat(at) for name, at in stored.items()})

    def as_json(self) -> dict[str, str]:
        """Give it as JSON can carry it."""
        return {name: at.isoformat() for name, at in sorted(self.told.items())}

    def is_known(self, service: str, forgiven: datetime | None) -> bool:
        """Whether people were told, and nobody has restarted it by hand since: after that it is given up anew."""
        told = self.told.get(service)
        return told is not None and (forgiven is None or told > forgiven)

    def plus(self, service: str, now: datetime) -> GivenUp:
        """Return it with a service that people were told of."""
        return GivenUp({**self.told, service: now})

    def minus(self, service: str) -> GivenUp:
        """Return it without a service that is well again."""
        return GivenUp({name: at for name, at in self.told.items() if name != service})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What people want of the services.

    Args:
        paused: Services that are to stand still.
        forgiven: When a person last wanted a service restarted: what failed before does not count any more.
        writer_cores: How many cores the Bronze writer uses. A producer is one process a venue, and has no such number.
    """

    paused: frozenset[str] = frozenset()
    forgiven: Mapping[str, datetime] = field(default_factory=dict)
    writer_cores: int = scale.CORES

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Wanted:
        """Read what `as_json` gave."""
        forgiven = {name: datetime.fromisoformat(at) for name, at in stored.get("forgiven", {}).items()}
        return cls(frozenset(stored.get("paused", ())), forgiven, stored.get("writer_cores", scale.CORES))

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON can carry it."""
        return {
            "paused": sorted(self.paused),
            "forgiven": {name: at.isoformat() for name, at in sorted(self.forgiven.items())},
            "writer_cores": self.writer_cores,
        }

    @property
    def is_drained(self) -> bool:
        """Whether the Bronze writer is to stand still once it has taken all: no producer is to send any more."""
        return self.paused.issuperset(PRODUCERS.values())


def wished(
    before: Wanted, action: str, services: tuple[str, ...], now: datetime, writer_cores: int = scale.CORES
) -> Wanted:
    """Return what is wanted after an action; a drained writer is paused later, when it has taken everything.

    Args:
        writer_cores: What is chosen if the action is to scale.

    Raises:
        ValueError: If there is no such action.
    """
    match action:
        case "pause":
            return replace(before, paused=before.paused | set(services))
        case "drain":
            return replace(before, paused=before.paused | (set(services) - {WRITER}))
        case "resume" | "restart":
            forgiven = {**before.forgiven, **dict.fromkeys(services, now)}
            return replace(before, paused=before.paused - set(services), forgiven=forgiven)
        case "scale":
            return replace(before, writer_cores=writer_cores)
        case _:
            raise ValueError(f"there is no action {action}; there are {', '.join(ACTIONS)}")

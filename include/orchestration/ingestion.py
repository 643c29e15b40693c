"""The long-lived services that bring trades in: which they are, how they fare, and what is wrong with them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import httpx
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

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
ACTIONS = ("pause", "resume", "drain", "restart")
"""What a person can want of a service."""

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


class LagCheck:
    """Does the Bronze writer come on while records wait for it? How many wait is told, and is no fault by itself.

    Args:
        settings: With the broker, and how often the writer commits.
        limit: How long records may wait beyond that without any being committed.
    """

    def __init__(self, settings: Settings, limit: timedelta) -> None:
        self._settings = settings
        self._admin = AdminClient({"bootstrap.servers": settings.kafka.address, "log_level": 0})
        self._still = Stillness(limit)

    def look(self) -> Reading:
        """Compare each topic's end with what its consumer group has committed.

        Raises:
            KafkaException: If the broker does not answer.
        """
        behind, stuck = {}, []
        for topic, group in _streamed():
            behind[topic.name], done = _backlog(self._admin, topic, group)
            # While nothing waits, standing still is no fault: the value then changes with the time.
            interval = self._settings.bronze_interval if topic.is_awaited else self._settings.bronze_quiet_interval
            if self._still.is_too_long(topic.name, sorted(done.items()) if behind[topic.name] else object(), interval):
                stuck.append(f"{behind[topic.name]} records of {topic.name}")
        troubles = (Trouble(WRITER, f"{', '.join(stuck)} wait and none is committed"),) if stuck else ()
        return Reading({"records_behind": behind}, troubles)


class CommitCheck:
    """How old is the last commit to Bronze while trades wait for one?

    Args:
        limit: The age from which that is a fault.
    """

    def __init__(self, settings: Settings, limit: timedelta) -> None:
        self._settings = settings
        self._admin = AdminClient({"bootstrap.servers": settings.kafka.address, "log_level": 0})
        self._still = Stillness(limit)

    def look(self) -> Reading:
        """Read the newest snapshot of `bronze.trades`.

        Raises:
            KafkaException: If the broker does not answer.
            Exception: Whatever pyiceberg raises when the catalog does not.
        """
        from include.orchestration.lake import open_catalog

        name = bronze.TRADES.full_name
        waits = any(_backlog(self._admin, topic, name)[0] for topic in topics_of(name))
        table = open_catalog(self._settings, self._settings.branch).load_table(name)
        newest = table.current_snapshot()
        at = datetime.fromtimestamp(newest.timestamp_ms / 1000, UTC) if newest else None
        interval = self._settings.bronze_interval
        is_old = self._still.is_too_long(name, at if waits else object(), interval)
        facts = {"last_commit": at.isoformat() if at else None}
        reason = f"trades wait, and the last commit to {name} is of {at or 'never'}"
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
    limit = settings.stall_limit
    made: dict[str, Callable[[], Check]] = {
        "lag": lambda: LagCheck(settings, limit),
        "commits": lambda: CommitCheck(settings, limit),
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


def records_behind(admin: AdminClient) -> dict[str, int]:
    """Return, by topic, how many records the Bronze writer has not committed yet.

    Raises:
        KafkaException: If the broker does not answer.
    """
    return {topic.name: _backlog(admin, topic, group)[0] for topic, group in _streamed()}


def _backlog(admin: AdminClient, topic: Topic, group: str) -> tuple[int, dict[int, int]]:
    """Return how many records of a topic a group has not committed, and how far it has come in each partition."""
    ends, done = end_offsets(admin, [topic])[topic.name], committed_offsets(admin, topic, group)
    return sum(max(end - done[part], 0) for part, end in ends.items()), done


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
class Wanted:
    """What people want of the services.

    Args:
        paused: Services that are to stand still.
        forgiven: When a person last wanted a service restarted: what failed before does not count any more.
    """

    paused: frozenset[str] = frozenset()
    forgiven: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Wanted:
        """Read what `as_json` gave."""
        forgiven = {name: datetime.fromisoformat(at) for name, at in stored.get("forgiven", {}).items()}
        return cls(frozenset(stored.get("paused", ())), forgiven)

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON can carry it."""
        return {
            "paused": sorted(self.paused),
            "forgiven": {name: at.isoformat() for name, at in sorted(self.forgiven.items())},
        }


def wished(before: Wanted, action: str, services: tuple[str, ...], now: datetime) -> Wanted:
    """Return what is wanted after an action; a drained writer is paused later, when it has taken everything.

    Raises:
        ValueError: If there is no such action.
    """
    match action:
        case "pause":
            return Wanted(before.paused | set(services), before.forgiven)
        case "drain":
            return Wanted(before.paused | (set(services) - {WRITER}), before.forgiven)
        case "resume" | "restart":
            return Wanted(before.paused - set(services), {**before.forgiven, **dict.fromkeys(services, now)})
        case _:
            raise ValueError(f"there is no action {action}; there are {', '.join(ACTIONS)}")

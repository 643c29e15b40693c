"""What Spark reports of its streaming queries, brought over from Java in one piece.

PySpark's listener builds its events by asking Java for each value by itself, and for each sample of a batch's times:
some two hundred calls a batch, and six whenever nothing is new. Here the JSON of a batch comes over in one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec
from py4j.java_gateway import JavaObject
from py4j.protocol import Py4JError
from pyspark.java_gateway import ensure_callback_server_started
from pyspark.sql import SparkSession

from spark_apps.bronze_writer.offsets import Offsets, from_json

NOTHING = b"null"


class Source(msgspec.Struct, frozen=True, rename="camel"):
    """What a query reads, and where in it; offsets as the source writes them."""

    start_offset: msgspec.Raw = msgspec.Raw(NOTHING)
    end_offset: msgspec.Raw = msgspec.Raw(NOTHING)
    latest_offset: msgspec.Raw = msgspec.Raw(NOTHING)

    @property
    def start(self) -> Offsets | None:
        """Where the batch began; None of a query's first."""
        return _offsets(self.start_offset)

    @property
    def end(self) -> Offsets:
        """Where it ended."""
        return _offsets(self.end_offset) or {}

    @property
    def latest(self) -> Offsets | None:
        """What was in Kafka when the batch was planned; None if an earlier start had planned it."""
        return _offsets(self.latest_offset)


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """A batch that is committed.

    Args:
        id: The query's.
        name: The query's.
        timestamp: When the batch was planned.
        duration_ms: Milliseconds by what they were spent on.
        observed_metrics: What the query had counted on the way, by name.
    """

    id: UUID
    name: str
    timestamp: datetime
    batch_id: int
    num_input_rows: int
    duration_ms: dict[str, int]
    sources: list[Source]
    observed_metrics: dict[str, dict[str, Any]] = {}

    @classmethod
    def of_json(cls, text: str) -> Report:
        """Read what `StreamingQueryProgress.json` of Spark writes."""
        return msgspec.json.decode(text, type=cls)

    @property
    def seconds(self) -> float:
        """How long the batch took, from its plan to its commit."""
        return self.duration_ms["triggerExecution"] / 1000

    @property
    def source(self) -> Source:
        """What it read: each of our queries has one source."""
        [source] = self.sources
        return source


class Listener(Protocol):
    """Who wants to know."""

    def started(self, query: UUID, name: str) -> None:
        """Take note that a query has started."""

    def committed(self, batch: Report) -> None:
        """Take note of a batch; Spark reports it after the sink has committed it."""

    def idle(self, query: UUID) -> None:
        """Take note that a query found nothing new."""


class _JavaListener:
    """Takes Spark's events, whose methods have Spark's names."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def onQueryStarted(self, event: JavaObject) -> None:  # noqa: N802
        self._listener.started(_id(event), event.name())

    def onQueryProgress(self, event: JavaObject) -> None:  # noqa: N802
        self._listener.committed(Report.of_json(event.progress().json()))

    def onQueryIdle(self, event: JavaObject) -> None:  # noqa: N802
        self._listener.idle(_id(event))

    def onQueryTerminated(self, event: JavaObject) -> None:  # noqa: N802
        """Whoever awaits the queries sees it."""

    class Java:
        """Makes the object a Java one (py4j's convention)."""

        implements = ("org.apache.spark.sql.streaming.PythonStreamingQueryListener",)


@contextmanager
def reporting_to(listener: Listener, spark: SparkSession) -> Iterator[None]:
    """Have all queries of a session reported to a listener, in a thread of Spark's own."""
    gateway = spark.sparkContext._gateway
    assert gateway is not None
    ensure_callback_server_started(gateway)  # type: ignore[no-untyped-call]
    package = gateway.jvm.org.apache.spark.sql.streaming
    java = package.PythonStreamingQueryListenerWrapper(_JavaListener(listener))
    queries = spark.streams._jsqm
    queries.addListener(java)
    try:
        yield
    finally:
        with suppress(Py4JError):  # Java may be gone
            queries.removeListener(java)


def _id(event: JavaObject) -> UUID:
    return UUID(event.id().toString())


def _offsets(raw: msgspec.Raw) -> Offsets | None:
    text = bytes(raw)
    return None if text == NOTHING else from_json(text)

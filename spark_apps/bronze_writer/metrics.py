"""What the Bronze writer tells Prometheus: its batches, its lag, and how long a trade takes to reach Bronze."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from include.metrics_server import serve
from include.settings import Endpoint
from spark_apps.bronze_writer.reports import Report

OBSERVED = "live"
"""The name under which a query's progress tells of the trades that came by the live feed."""
SAMPLES = 50
"""By how many of its trades, spread evenly, a batch is known; the oldest one in a hundred is still seen."""

RECORDS = (1, 10, 100, 1_000, 10_000, 100_000)
BATCH_SECONDS = (0.5, 1, 2.5, 5, 10, 30, 60, 300)
LATENCY_SECONDS = (1, 2.5, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 900, 3600)


def observed(rows: DataFrame) -> DataFrame:
    """Have the query of `bronze.trades` tell of the exchange times in each batch, without reading it again.

    History from REST is left out: it is old when it comes.
    """
    time = F.when(F.col("_source") == "ws", F.col("time").cast("timestamp").cast("double"))
    return rows.observe(
        OBSERVED,
        F.count(time).alias("count"),
        F.sum(time).alias("sum"),
        _spread(time).alias("times"),
    )


def _spread(time: Column) -> Column:
    return F.percentile_approx(time, [(place + 0.5) / SAMPLES for place in range(SAMPLES)], 1_000)


class Latencies(Collector):
    """A histogram that takes a batch of values at once."""

    def __init__(self, name: str, meaning: str) -> None:
        self._name, self._meaning = name, meaning
        self._counts = [0.0] * (len(LATENCY_SECONDS) + 1)
        self._sum = 0.0

    def take(self, count: int, total: float, samples: Iterable[float]) -> None:
        """Count a batch.

        Args:
            count: How many values it has.
            total: Their sum.
            samples: Values that stand for equal parts of it.
        """
        samples = list(samples)
        for sample in samples:
            self._counts[bisect_left(LATENCY_SECONDS, sample)] += count / len(samples)
        self._sum += total

    def collect(self) -> Iterable[Metric]:
        """Give Prometheus the histogram."""
        bounds = [*map(floatToGoString, LATENCY_SECONDS), "+Inf"]
        family = HistogramMetricFamily(self._name, self._meaning)
        family.add_metric((), list(zip(bounds, accumulate(self._counts), strict=True)), self._sum)
        yield family


class WriterMetrics:
    """The metrics of one writer, by table; they begin at nothing whenever it starts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        by_table = ("table",)
        self.batch_records = Histogram(
            "bronze_batch_records", "Kafka records in a batch.", by_table, registry=self.registry, buckets=RECORDS
        )
        self.batch_seconds = Histogram(
            "bronze_batch_seconds", "From a batch planned to its commit.", by_table,
            registry=self.registry, buckets=BATCH_SECONDS,
        )  # fmt: skip
        self.last_batch = Gauge(
            "bronze_last_batch_time_seconds", "When the newest batch was committed.", by_table, registry=self.registry
        )
        self.lag = Gauge(
            "bronze_lag_records", "Records that were in Kafka, and not in the newest batch, when that was planned.",
            ("table", "topic", "partition"), registry=self.registry,
        )  # fmt: skip
        self.dead_letters = Counter(
            "bronze_dead_letters", "Records that became dead letters, the producers' own among them.",
            registry=self.registry,
        )  # fmt: skip
        self.queries = Gauge(
            "bronze_queries_at_work", "Queries that have come to an end of Kafka or of a batch since this start.",
            registry=self.registry,
        )  # fmt: skip
        self._at_work: set[UUID] = set()
        self.latency = Latencies("bronze_event_seconds", "From a trade, by the exchange's clock, to its commit.")
        self.registry.register(self.latency)

    def serve(self, at: Endpoint) -> None:
        """Answer Prometheus.

        Raises:
            OSError: If the port is taken.
        """
        serve(self.registry, at, "LAKE_BRONZE_METRICS")

    def at_work(self, query: UUID) -> None:
        """Take note that a query has committed a batch, or found that nothing is new."""
        self._at_work.add(query)
        self.queries.set(len(self._at_work))

    def take(self, batch: Report) -> None:
        """Count a batch that is committed."""
        self.at_work(batch.id)
        committed_at = batch.timestamp.timestamp() + batch.seconds
        self.batch_records.labels(batch.name).observe(batch.num_input_rows)
        self.batch_seconds.labels(batch.name).observe(batch.seconds)
        self.last_batch.labels(batch.name).set(committed_at)
        reached = batch.source.end
        for topic, ends in (batch.source.latest or {}).items():
            for partition, end in ends.items():
                self.lag.labels(batch.name, topic, str(partition)).set(end - reached[topic][partition])
        live = batch.observed_metrics.get(OBSERVED)
        if live is not None and live["count"]:
            waited = [committed_at - time for time in live["times"]]
            self.latency.take(live["count"], live["count"] * committed_at - live["sum"], waited)

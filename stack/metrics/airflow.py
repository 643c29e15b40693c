"""What Airflow tells by OpenTelemetry, added up for Prometheus.

Each task is a process of its own, which tells what it counted and ends. So each process tells only what is new since it
told last (OpenTelemetry's delta temporality), and the sums are kept here.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    NumberDataPoint,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as OtlpMetric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

SECONDS = (1, 5, 15, 30, 60, 120, 300, 900, 3600)

FINISHES = "airflow.ti.finish"
TASK_DURATION = "airflow.task.duration"
RUN_DURATION = "airflow.dagrun.duration."
HEARTBEAT = "airflow.scheduler_heartbeat"

Labels = tuple[str, ...]


@dataclass
class _Durations:
    """One histogram's series: values by bucket, and their sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def add(self, point: ExponentialHistogramDataPoint) -> None:
        """Take in what a process counted, in milliseconds.

        Its buckets are narrow, growing by a factor each, so that each lies in one of ours but for the edges.
        """
        factor = 2.0 ** (2.0**-point.scale)
        self.counts[0] += point.zero_count
        for place, count in enumerate(point.positive.bucket_counts, start=point.positive.offset):
            self.counts[bisect_left(SECONDS, factor ** (place + 1) / 1000)] += count
        self.total += point.sum / 1000


class Tallies(Collector):
    """The sums since this service started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._finishes: Counter[Labels] = Counter()
        self._heartbeats = 0
        self._tasks: defaultdict[Labels, _Durations] = defaultdict(_Durations)
        # A count that first shows as one looks to Prometheus as if it had always been one.
        self._runs: defaultdict[Labels, _Durations] = defaultdict(
            _Durations, {("trades_hourly", state): _Durations() for state in ("success", "failed")}
        )

    def take(self, body: bytes) -> None:
        """Add what a process tells.

        Raises:
            google.protobuf.message.DecodeError: If it is not OTLP.
        """
        told = ExportMetricsServiceRequest.FromString(body)
        with self._lock:
            for resource in told.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        self._add(metric)

    def _add(self, metric: OtlpMetric) -> None:
        if metric.name == FINISHES:
            for number in metric.sum.data_points:
                self._finishes[_labels(number, "dag_id", "task_id", "state")] += number.as_int
        elif metric.name == HEARTBEAT:
            self._heartbeats += sum(number.as_int for number in metric.sum.data_points)
        elif metric.name == TASK_DURATION:
            for point in metric.exponential_histogram.data_points:
                self._tasks[_labels(point, "dag_id", "task_id")].add(point)
        elif metric.name.startswith(RUN_DURATION):
            for point in metric.exponential_histogram.data_points:
                self._runs[(*_labels(point, "dag_id"), metric.name.removeprefix(RUN_DURATION))].add(point)

    def collect(self) -> Iterable[Metric]:
        """Give Prometheus the sums."""
        finishes = CounterMetricFamily(
            "airflow_task_finishes",
            "Attempts at tasks that ended by themselves.",
            labels=("dag_id", "task_id", "state"),
        )
        heartbeats = CounterMetricFamily("airflow_scheduler_heartbeats", "Rounds of the scheduler.")
        with self._lock:
            for labels, count in sorted(self._finishes.items()):
                finishes.add_metric(labels, count)
            heartbeats.add_metric((), self._heartbeats)
            tasks = _family("airflow_task_seconds", "Duration of an attempt.", ("dag_id", "task_id"), self._tasks)
            runs = _family("airflow_dag_run_seconds", "Duration of a DAG's run.", ("dag_id", "state"), self._runs)
        return (finishes, heartbeats, tasks, runs)


def _labels(point: NumberDataPoint | ExponentialHistogramDataPoint, *names: str) -> Labels:
    told: Mapping[str, str] = {attribute.key: attribute.value.string_value for attribute in point.attributes}
    return tuple(told.get(name, "") for name in names)


def _family(name: str, meaning: str, labels: Labels, series: Mapping[Labels, _Durations]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, meaning, labels=labels)
    bounds = [*map(floatToGoString, SECONDS), "+Inf"]
    for values, durations in sorted(series.items()):
        family.add_metric(values, list(zip(bounds, accumulate(durations.counts), strict=True)), durations.total)
    return family

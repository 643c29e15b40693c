"""What a producer tells Prometheus."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from include.metrics_server import serve
from include.settings import Endpoint
from streaming.drift import Drift
from streaming.failures import RefusalError
from streaming.product import Followed

PRODUCT = ("venue", "market", "product_id")
"""The labels of a product: two markets of a venue may have one of the same name."""
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics(Collector):
    """The metrics of one venue's producer.

    Frames are counted in a plain dictionary, read when Prometheus asks: a client counter takes a lock and costs more
    than reading the frame does.
    """

    def __init__(self, venue: str) -> None:
        self.frames: defaultdict[str, int] = defaultdict(int)
        """Frames by channel; add to it directly."""
        self._venue = venue
        self._products: tuple[Followed, ...] = ()
        self._drift: Drift | None = None
        self._delivered: Callable[[], int] = lambda: 0
        self._queued: Callable[[], int] = lambda: 0
        self._waiting: Callable[[], float] = lambda: 0.0
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.connected = self._gauge(
            "connected", "How many connections to the venue are open; 1 if a venue that is polled answers."
        ).labels(venue)
        self.reconnects = self._counter("reconnects", "Connections lost, or not made.").labels(venue)
        self.dead_letters = self._counter("dead_letters", "Frames that could not be read.").labels(venue)
        self.refused_products = self._counter("refused_products", "Products the venue did not let us follow.").labels(
            venue
        )
        self.gaps_found = self._counter("gaps_found", "Gaps in trade ids.", "product_id")
        self.ids_missing = self._counter("ids_missing", "Trade ids in gaps.", "product_id")
        self.ids_repaired = self._counter("ids_repaired", "Missing ids that came after all.", "product_id")
        self.ids_unavailable = self._counter("ids_unavailable", "Missing ids the venue does not have.", "product_id")
        self.gaps_repaired = self._counter("gaps_repaired", "Gaps wholly repaired.", "product_id")
        self.gaps_unavailable = self._counter("gaps_unavailable", "Gaps not wholly repaired.", "product_id")
        self.breaks = self._counter("breaks", "Breaks where ids are not counted, by how they ended.", "outcome")
        self.repair_seconds = self._histogram("gap_repair_seconds", "From a gap found to its end, acknowledged.")
        self.history_share = self._gauge("history_share", "How much of the first history is fetched.", "product_id")
        self.requests = self._counter("rest_requests", "REST requests by how they ended.", "outcome")
        self.next_request = self._gauge(
            "next_request_seconds", "When a venue that is polled is asked next, in seconds since 1970."
        )
        self.requests_left = self._gauge("requests_left", "How many requests the venue still allows this month.")
        self.delivery_seconds = self._histogram(
            "delivery_seconds", "From a frame taken to its acknowledgement; of frames that came together, once."
        )
        self.redelivered = self._counter("redelivered_records", "Records sent again after a failure.").labels(venue)

    def collect(self) -> Iterable[Metric]:
        """Give Prometheus what is counted elsewhere: frames, records and the books of the products."""
        frames = CounterMetricFamily("ingestion_frames", "Frames taken, by channel.", labels=("venue", "channel"))
        for channel, count in sorted(self.frames.items()):
            frames.add_metric((self._venue, channel), count)
        yield frames
        delivered = CounterMetricFamily("ingestion_delivered_records", "Records acknowledged.", labels=("venue",))
        delivered.add_metric((self._venue,), self._delivered())
        yield delivered
        queued = GaugeMetricFamily("ingestion_queued_records", "Records not yet acknowledged.", labels=("venue",))
        queued.add_metric((self._venue,), self._queued())
        yield queued
        waiting = GaugeMetricFamily(
            "ingestion_unacknowledged_seconds", "How long the oldest of them has waited.", labels=("venue",)
        )
        waiting.add_metric((self._venue,), self._waiting())
        yield waiting
        yield from self._differences()
        late = CounterMetricFamily(
            "ingestion_late_trades", "Trades that came after their time was closed.", labels=PRODUCT
        )
        last_id = self._family("last_trade_id", "The highest trade id known.")
        last_time = self._family("last_exchange_time_seconds", "The latest exchange time seen.")
        closed = self._family("closed_through_seconds", "How far a product is closed.")
        for product in self._products:
            labels = (self._venue, product.key.market, product.key.product_id)
            late.add_metric(labels, product.late_trades)
            if product.last_trade_id is not None:
                last_id.add_metric(labels, product.last_trade_id)
            if product.last_time is not None:
                last_time.add_metric(labels, product.last_time.timestamp())
            if product.closed_through is not None:
                closed.add_metric(labels, product.closed_through.timestamp())
        yield from (late, last_id, last_time, closed)

    def _differences(self) -> Iterable[Metric]:
        labels = ("venue", "message_type", "field")
        new = CounterMetricFamily("ingestion_new_fields", "Fields that nobody knew.", labels=labels)
        changed = CounterMetricFamily(
            "ingestion_changed_frames", "Frames refused because a field has another type.", labels=labels
        )
        retyped = CounterMetricFamily(
            "ingestion_retyped_fields", "Fields of another type than before, of frames that are kept.", labels=labels
        )
        families = {"new_field": new, "changed_type": changed, "retyped_field": retyped}
        for difference, count in self._drift.counts.copy().items() if self._drift else ():
            families[difference.kind].add_metric((self._venue, difference.message_type, difference.field), count)
        yield from families.values()

    @staticmethod
    def _family(name: str, meaning: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"ingestion_{name}", meaning, labels=PRODUCT)

    def watch(self, products: Iterable[Followed]) -> None:
        """Let Prometheus read the books of the products whenever it asks."""
        self._products = tuple(products)
        for product in self._products:
            # A count that first shows as one looks to Prometheus as if it had always been one.
            for counter in (
                self.gaps_found, self.ids_missing, self.ids_repaired,
                self.ids_unavailable, self.gaps_repaired, self.gaps_unavailable,
            ):  # fmt: skip
                self.of(counter, product.key.product_id)

    def watch_drift(self, drift: Drift) -> None:
        """Let Prometheus read what differs whenever it asks."""
        self._drift = drift

    def watch_delivery(
        self, delivered: Callable[[], int], queued: Callable[[], int], waiting: Callable[[], float]
    ) -> None:
        """Let Prometheus read the counts of the delivery whenever it asks."""
        self._delivered, self._queued, self._waiting = delivered, queued, waiting

    def of(self, metric: Counter, label: str) -> Counter:
        """Return this venue's counter for one product, or other label."""
        return metric.labels(self._venue, label)

    def serve(self, at: Endpoint, setting: str) -> None:
        """Answer Prometheus.

        Args:
            at: Where.
            setting: The setting that says so, in the environment.

        Raises:
            RefusalError: If the port is taken.
        """
        try:
            serve(self.registry, at, setting)
        except OSError as error:
            raise RefusalError(str(error)) from error

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"ingestion_{name}", meaning, ("venue", *labels), registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"ingestion_{name}", meaning, ("venue", *labels), registry=self.registry)

    def _histogram(self, name: str, meaning: str) -> Histogram:
        return Histogram(
            f"ingestion_{name}", meaning, ("venue",), registry=self.registry, buckets=LATENCY_BUCKETS
        ).labels(self._venue)

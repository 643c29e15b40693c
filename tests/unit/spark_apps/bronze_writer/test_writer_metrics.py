import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from include.contracts import bronze
from include.renderers.spark import struct_type
from spark_apps.bronze_writer.metrics import LATENCY_SECONDS, Latencies, WriterMetrics, observed
from spark_apps.bronze_writer.reports import Report, reporting_to

pytestmark = pytest.mark.unit

TRADES_QUERY, TICKERS_QUERY = uuid4(), uuid4()
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Kept:
    """Keeps what is reported of the first batch."""

    def __init__(self):
        self.begun = {}
        self.batch = None
        self.came = threading.Event()

    def started(self, query, name):
        self.begun[query] = name

    def committed(self, batch):
        self.batch = self.batch or batch
        self.came.set()

    def idle(self, query): ...


@pytest.fixture
def batch_of(spark, tmp_path: Path):
    """Run trades through a real streaming query and give the progress that Spark reports of its batch."""

    def run(*trades: dict[str, str | None]):
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "1.json").write_text("\n".join(map(json.dumps, trades)))
        kept = Kept()
        rows = spark.readStream.schema(struct_type(bronze.TRADES)).json(str(tmp_path / "in"))
        queried = (
            observed(rows)
            .writeStream.format("memory")
            .queryName("trades")
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
        )
        with reporting_to(kept, spark):
            query = queried.start()
            try:
                query.processAllAvailable()
                assert kept.came.wait(20)
            finally:
                query.stop()
        assert kept.begun == {kept.batch.id: "trades"}
        return kept.batch

    return run


def told(metrics: WriterMetrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        for sample in family.samples
    }


def test_a_batch_tells_the_exchange_times_of_its_live_trades_alone(batch_of):
    batch = batch_of(
        {"_source": "ws", "time": "2026-11-20T12:00:00.000000Z"},
        {"_source": "ws", "time": "2026-11-20T12:00:04.500Z"},
        {"_source": "rest", "time": "2026-11-20T03:00:00Z"},
        {"_source": "ws", "time": "yesterday"},
        {"_source": "ws", "time": None},
    )

    live = batch.observed_metrics["live"]
    assert (live["count"], live["sum"]) == (2, 2 * NOON.timestamp() + 4.5)
    assert sorted(set(live["times"])) == [NOON.timestamp(), NOON.timestamp() + 4.5]


def test_a_batch_of_history_tells_no_time(batch_of):
    batch = batch_of({"_source": "rest", "time": "2026-11-20T03:00:00Z"})

    assert batch.observed_metrics["live"]["count"] == 0


def committed(records: int, seconds: float, reached: int, latest: int | None, live: dict[str, object] | None = None):
    """A batch as Spark reports it, planned at noon."""

    def at(offset: int | None) -> dict[str, dict[str, int]] | None:
        return None if offset is None else {"coinbase.raw.trades": {"0": offset}}

    told = {
        "id": str(TRADES_QUERY),
        "runId": str(uuid4()),
        "name": "bronze.trades",
        "timestamp": "2026-11-20T12:00:00.000Z",
        "batchId": 7,
        "numInputRows": records,
        "durationMs": {"addBatch": 1, "triggerExecution": int(seconds * 1000)},
        "sources": [
            {"description": "Kafka", "startOffset": None, "endOffset": at(reached), "latestOffset": at(latest)}
        ],
        "observedMetrics": {"live": live} if live else {},
    }
    return Report.of_json(json.dumps(told))


def test_a_batch_says_what_it_began_with_and_where_it_ended():
    source = committed(records=1, seconds=1, reached=7, latest=None).source

    assert (source.start, source.end, source.latest) == (None, {"coinbase.raw.trades": {0: 7}}, None)


def test_batches_are_told_by_their_records_their_duration_and_what_they_left():
    metrics = WriterMetrics()

    metrics.take(committed(records=100, seconds=2, reached=100, latest=400))
    metrics.take(committed(records=300, seconds=4, reached=400, latest=400))

    now = told(metrics)
    assert now["bronze_batch_records_sum", "bronze.trades"] == 400
    assert (now["bronze_batch_seconds_count", "bronze.trades"], now["bronze_batch_seconds_sum", "bronze.trades"]) == (
        2, 6,
    )  # fmt: skip
    assert now["bronze_lag_records", "0", "bronze.trades", "coinbase.raw.trades"] == 0
    assert now["bronze_last_batch_time_seconds", "bronze.trades"] == NOON.timestamp() + 4


def test_a_query_is_at_work_once_it_has_committed_a_batch_or_found_nothing_new():
    metrics = WriterMetrics()
    before = told(metrics)

    metrics.at_work(TICKERS_QUERY)
    for _ in range(2):
        metrics.take(committed(records=100, seconds=2, reached=100, latest=100))

    assert (before["bronze_queries_at_work",], told(metrics)["bronze_queries_at_work",]) == (0, 2)


def test_a_batch_that_an_earlier_start_had_planned_says_nothing_of_its_lag():
    metrics = WriterMetrics()

    metrics.take(committed(records=100, seconds=2, reached=100, latest=None))

    now = told(metrics)
    assert now["bronze_batch_records_sum", "bronze.trades"] == 100
    assert not [labels for labels in now if labels[0] == "bronze_lag_records"]


def test_a_trade_is_in_bronze_when_its_batch_is_committed():
    metrics, times = WriterMetrics(), [NOON.timestamp() - 8, NOON.timestamp() - 1]

    metrics.take(committed(2, seconds=2, reached=2, latest=2, live={"count": 2, "sum": sum(times), "times": times}))

    now = told(metrics)
    assert now["bronze_event_seconds_sum",] == 13
    assert [now["bronze_event_seconds_bucket", le] for le in ("2.5", "5.0", "7.5", "10.0", "+Inf")] == [0, 1, 1, 2, 2]


def test_a_batch_is_known_by_samples_that_stand_for_equal_parts_of_it():
    latencies = Latencies("x", "x")

    latencies.take(1_000, 5_000.0, [0.5, 3, 3, 4_000])

    [family] = latencies.collect()
    buckets = {sample.labels["le"]: sample.value for sample in family.samples if sample.name == "x_bucket"}
    assert (buckets["1.0"], buckets["5.0"], buckets["3600.0"], buckets["+Inf"]) == (250, 750, 750, 1_000)
    assert len(buckets) == len(LATENCY_SECONDS) + 1

"""Airflow's own code tells its metrics over HTTP to the service's own server, from processes that end, as tasks do."""

import os
import subprocess
import sys
import textwrap

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from include.settings import CHECKOUT, Endpoint, Settings
from stack.metrics import reporting
from stack.metrics.airflow import Tallies
from stack.metrics.server import serving
from tests.drivers.running_stack import free_ports

pytestmark = pytest.mark.unit

TASK = """
    from datetime import timedelta
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
    of = {"dag_id": "trades_hourly", "task_id": "bronze_to_silver"}
    stats.incr("ti.start", tags=of)
    stats.incr("ti.finish", tags={**of, "state": "STATE"})
    stats.timing("task.duration", SECONDS * 1000, tags=of)
    stats.timing("dagrun.duration.success", timedelta(seconds=100), tags={"dag_id": "trades_hourly"})
"""


@pytest.fixture(scope="module")
def at() -> Endpoint:
    return Endpoint(port=free_ports()["metrics"])


@pytest.fixture(scope="module")
def told(at: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], float]:
    """What Prometheus reads after three attempts of a task, of which two succeed."""
    settings, tallies, registry = Settings(metrics=at), Tallies(), CollectorRegistry()
    registry.register(tallies)
    home = {"AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")), "PYTHONPATH": str(CHECKOUT)}
    with serving(at, registry, {"/v1/metrics": tallies.take}):
        for state, seconds in (("up_for_retry", 2), ("success", 20), ("success", 40)):
            code = textwrap.dedent(TASK).replace("STATE", state).replace("SECONDS", str(seconds))
            done = subprocess.run(
                [sys.executable, "-c", code], env={**os.environ, **reporting.environment(settings), **home},
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        answer = httpx.get(f"{at.url}/metrics").text
        assert httpx.post(f"{at.url}/v1/metrics", content=b"\xff no protobuf").status_code == 400
        assert httpx.post(f"{at.url}/v1/traces", content=b"").status_code == 404
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer)
        for sample in family.samples
    }


def test_attempts_of_processes_that_ended_are_added_up(told):
    assert told["airflow_task_finishes_total", "trades_hourly", "success", "bronze_to_silver"] == 2
    assert told["airflow_task_finishes_total", "trades_hourly", "up_for_retry", "bronze_to_silver"] == 1


def test_durations_are_a_histogram_in_seconds(told):
    of = "airflow_task_seconds_bucket", "trades_hourly"
    assert told["airflow_task_seconds_sum", "trades_hourly", "bronze_to_silver"] == pytest.approx(62)
    assert [told[*of, le, "bronze_to_silver"] for le in ("1.0", "5.0", "15.0", "30.0", "60.0", "+Inf")] == [
        0, 1, 1, 2, 3, 3,
    ]  # fmt: skip


def test_runs_are_told_by_how_they_ended_and_a_failure_is_counted_from_nothing(told):
    assert told["airflow_dag_run_seconds_count", "trades_hourly", "success"] == 3
    assert told["airflow_dag_run_seconds_count", "trades_hourly", "failed"] == 0


def test_metrics_that_nobody_asks_for_are_not_told(told):
    assert not [name for name, *_ in told if "start" in name]

"""A second `demo` finds all there and leaves it so."""

from __future__ import annotations

from typing import Any

import psutil
import pytest

from tests.drivers.demo import Demo
from tests.drivers.lake import Lake
from tests.drivers.running_stack import RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def services(stack: RunningStack) -> dict[str, int]:
    return {process.name: process.pid for process in stack.supervisor.processes()}


def test_demo_run_again_changes_nothing_and_says_so(demo: Demo, lake: Lake):
    candles, pids = lake.rows("gold.ohlcv_1m"), services(demo.stack)

    again = demo.stack.command("demo", timeout=240)

    assert again.returncode == 0, again.stdout
    assert "nothing was changed" in again.stdout
    assert services(demo.stack) == pids
    assert candles.join(lake.rows("gold.ohlcv_1m"), on=candles.columns, how="anti", nulls_equal=True).is_empty()


def test_status_shows_each_service_with_its_port(demo: Demo):
    status = demo.stack.command("status", timeout=120)

    assert status.returncode == 0, status.stdout
    for service, port in (("kafka", demo.stack.ports["kafka"]), ("airflow-api", demo.stack.ports["airflow"])):
        assert service in status.stdout
        assert str(port) in status.stdout


def test_doctor_finds_a_healthy_stack_well(demo: Demo):
    doctor = demo.stack.command("doctor", timeout=120)

    assert doctor.returncode == 0, doctor.stdout


def test_nothing_listens_beyond_this_machine(stack: RunningStack):
    listening = {
        (connection.laddr.ip, process.name(), connection.laddr.port)
        for process in stack.processes()
        for connection in listeners(process)
    }

    assert len(listening) >= 10
    assert [found for found in listening if found[0] not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")] == []


def listeners(process: psutil.Process) -> list[Any]:
    """Return the sockets on which a process takes connections; none if it has ended meanwhile."""
    try:
        connections = process.net_connections("inet")
    except psutil.NoSuchProcess:
        return []
    return [connection for connection in connections if connection.status == psutil.CONN_LISTEN]

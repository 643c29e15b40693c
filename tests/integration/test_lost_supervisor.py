"""The process that keeps the others alive may be killed too: what it leaves behind is seen, replaced or ended."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from tests.drivers.kafka import Kafka
from tests.drivers.running_stack import RunningStack, broker_alone

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

START_SECONDS = 120


@pytest.fixture
def orphaned() -> Iterator[RunningStack]:
    """A broker that runs on although nobody keeps it alive any more."""
    with broker_alone() as stack:
        psutil.Process(stack.supervisor.call("getPID")).kill()
        assert [process.name() for process in stack.processes()] == ["java"]
        yield stack


def test_what_lost_its_supervisor_is_seen_and_goes_on_under_a_new_one(orphaned: RunningStack):
    [broker] = orphaned.processes()
    kafka = Kafka(orphaned.settings)
    kafka.produce("coinbase.raw.trades", "BTC-USD", [b"before"])

    status, doctor = orphaned.command("status", timeout=60), orphaned.command("doctor", timeout=60)
    assert "1 processes run without their supervisor" in status.stdout
    assert doctor.returncode == 1
    assert str(broker.pid) in doctor.stdout
    assert "`make up`" in doctor.stdout

    up = orphaned.command("up", "--only", "topics", timeout=START_SECONDS)
    assert up.returncode == 0, up.stdout
    assert not broker.is_running()
    assert kafka.newest("coinbase.raw.trades", "BTC-USD") == [b"before"]


def test_what_lost_its_supervisor_is_ended_with_the_stack(orphaned: RunningStack):
    down = orphaned.command("down", timeout=START_SECONDS)

    assert down.returncode == 0, down.stdout
    assert orphaned.processes() == []

"""Whatever part of the console is killed while an hour is built, the hour is published once and is the same, unaided.

The seed chooses the part and the step at which it strikes. Airflow's database may even forget what it has done.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

import polars as pl
import psutil
import pytest
from polars.testing import assert_frame_equal

from include.orchestration import turn as turns
from include.orchestration.nessie import Nessie
from stack import database
from tests.drivers.airflow import ENDED, KEY, Airflow
from tests.drivers.demo import Demo
from tests.drivers.lake import Lake
from tests.drivers.running_stack import RunningStack
from tests.drivers.waiting import eventually
from tests.truth.tape import HOUR

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

STEPS = (
    "wait_for_hour",
    "repair_gaps",
    "take_turn",
    "open_branch",
    "gate_bronze",
    "bronze_to_silver",
    "gate_silver",
    "dbt_gold.ohlcv_1m",
    "dbt_gold.daily_metrics",
    "gate_gold",
    "publish",
    "measure_hour",
    "announce.gold.ohlcv_1m",
)
SPARK_STEP = "bronze_to_silver"
AIRFLOW = ("airflow-scheduler", "airflow-api", "airflow-triggerer", "airflow-dag-processor")
SERVICES = (*AIRFLOW, "thrift")
PARTS = (*SERVICES, "task", "executor", "spark-submit")
"""What is killed: a service; the process of a task; the scheduler's process that watches it; the job beside it."""
REBUILT_WITHIN = 900
"""Seconds: an hour, the two minutes after which a task without a sign of life is begun anew, and the pauses between."""
BEGUN = ("running", "deferred", *ENDED)


@dataclass(frozen=True)
class Hour:
    """A published hour that is built again while things are killed.

    Args:
        rows: Of each table that an hour replaces, as they were before.
    """

    start: datetime
    rows: dict[str, pl.DataFrame]
    airflow: Airflow
    lake: Lake
    stack: RunningStack

    def build(self) -> str:
        """Begin to build it, and return the run's id."""
        return self.airflow.trigger(self.start)

    def task(self, run: str, step: str) -> dict[str, Any]:
        """Return a task of a run as Airflow has it now."""
        return next(task for task in self.airflow.tasks(run) if task["task_id"] == step)

    def published(self) -> list[str]:
        """Return the branches of this hour that were merged, the newest first."""
        with Nessie(self.stack.settings.nessie_api) as nessie:
            branches = [commit.properties.get("branch", "") for commit in nessie.history("main")]
        return [branch for branch in branches if branch.startswith(f"{turns.OF_HOUR}{self.start.strftime(KEY)}-")]

    def assert_rebuilt_once(self, run: str, published_before: list[str]) -> None:
        """Wait for the end of a run and hold what it did against what stood before."""
        ended = self.airflow.ended(run, within=REBUILT_WITHIN)
        assert ended["state"] == "success", {
            task["task_id"]: task["state"] for task in self.airflow.tasks(run) if task["state"] != "success"
        }
        published = self.published()
        assert published[1:] == published_before, "published other than once"
        told = self.airflow.event_of("gold.ohlcv_1m", self.start)
        assert told["rows"] == self.rows["gold.ohlcv_1m"].height
        left = self.lake.references()
        assert turns.NAME not in left
        assert [name for name in left if name.startswith(turns.OF_HOUR)] == []
        for table, rows in self.lake.hourly_rows(self.start, self.start + HOUR).items():
            assert_frame_equal(rows, self.rows[table])


@pytest.fixture
def hour(demo: Demo, airflow: Airflow, lake: Lake, stack: RunningStack) -> Hour:
    """A published hour, while no other one is built."""
    start = demo.hours[1]
    eventually(lambda: turns.NAME not in lake.references(), within=REBUILT_WITHIN, what="the turn to be free", every=3)
    return Hour(start, lake.hourly_rows(start, start + HOUR), airflow, lake, stack)


@pytest.fixture(autouse=True, scope="module")
def watched(demo: Demo) -> Iterator[None]:
    """See that at the end every service runs, whoever was killed."""
    yield

    def all_run() -> bool:
        processes = demo.stack.supervisor.processes()
        return all(process.is_up for process in processes if process.name in SERVICES)

    eventually(all_run, within=120, what="all services to run again")


def test_a_part_of_the_console_is_killed_while_an_hour_is_built(hour: Hour, seed: int):
    chance = Random(seed)
    part, step = chance.choice(PARTS), chance.choice(STEPS)
    before = hour.published()

    run = hour.build()
    strike(hour, run, part, step)

    hour.assert_rebuilt_once(run, before)


@pytest.mark.thorough
@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_console_is_killed_at_each_step_of_an_hour(hour: Hour, part: str):
    before = hour.published()

    run = hour.build()
    for step in (SPARK_STEP,) if part == "spark-submit" else STEPS:
        strike(hour, run, part, step)

    hour.assert_rebuilt_once(run, before)


def test_airflow_forgets_a_run_that_has_the_turn(hour: Hour, airflow: Airflow, seed: int):
    before = hour.published()
    forgotten_events = len(airflow.events("gold.ohlcv_1m"))
    with backup(hour.stack) as restore:
        lost = hour.build()
        step = Random(seed).choice(STEPS[STEPS.index("open_branch") : STEPS.index("publish")])
        wait_for(hour, lost, step)
        restore()
    assert len(airflow.events("gold.ohlcv_1m")) == forgotten_events
    assert lost not in {run["dag_run_id"] for run in airflow.runs(hour.start)}

    hour.assert_rebuilt_once(hour.build(), before)


def strike(hour: Hour, run: str, part: str, step: str) -> None:
    """Kill a part with SIGKILL as soon as a step has begun, and see that a service is replaced."""
    if part in SERVICES:
        wait_for(hour, run, step)
        hour.stack.kill(part, whole=part == "thrift")
        hour.stack.wait_for_console()
        return
    find = {"task": process_of_task, "executor": watcher_of_task, "spark-submit": spark_submit}[part]
    step = SPARK_STEP if part == "spark-submit" else step
    victim = eventually(
        lambda: find(hour, run, step), within=REBUILT_WITHIN, what=f"{part} of {step} in {run}", every=0.1
    )
    with suppress(psutil.NoSuchProcess):  # it ended by itself in this moment
        victim.kill()


def wait_for(hour: Hour, run: str, step: str) -> None:
    """Wait until a step of a run has begun."""

    def has_begun() -> bool:
        return hour.task(run, step)["state"] in BEGUN

    eventually(has_begun, within=REBUILT_WITHIN, what=f"{step} of {run}", every=0.2)


def process_of_task(hour: Hour, run: str, step: str) -> psutil.Process | None:
    """Return the process of a step, or of one after it if that was too short to be seen."""
    tasks = hour.airflow.tasks(run)
    if not any(task["task_id"] == step and task["state"] in BEGUN for task in tasks):
        return None
    for task in tasks:
        if task["state"] == "running" and task["pid"]:
            with suppress(psutil.NoSuchProcess):
                return psutil.Process(task["pid"])
    return None


def watcher_of_task(hour: Hour, run: str, step: str) -> psutil.Process | None:
    """Return the executor's process that watches over the process of a step."""
    process = process_of_task(hour, run, step)
    with suppress(psutil.NoSuchProcess):
        return process and process.parent()
    return None


def spark_submit(hour: Hour, run: str, _step: str) -> psutil.Process | None:
    """Return the Spark job of a run."""
    if hour.task(run, "open_branch")["state"] != "success":
        return None
    argument = f".ref={hour.airflow.result_of(run, 'open_branch')}"
    for process in hour.stack.processes():
        with suppress(psutil.NoSuchProcess):
            if any(word.endswith(argument) for word in process.cmdline()):
                return process
    return None


@contextmanager
def backup(stack: RunningStack) -> Iterator[Callable[[], None]]:
    """Save Airflow's database; what this gives puts it back as it was, between a stop and a start of Airflow."""
    settings = stack.settings
    password = settings.postgres_password
    assert password is not None, "the stack has made no password for PostgreSQL"
    server = {"host": settings.postgres.host, "port": settings.postgres.port, "user": database.USER}
    environment = {"PGPASSWORD": password.get_secret_value()}
    options = [f"--{name.replace('user', 'username')}={value}" for name, value in server.items()]
    file = stack.state / "airflow.dump"

    def run(program: str, *arguments: str) -> None:
        command = [str(database.binary(program)), *options, *arguments]
        subprocess.run(command, env=environment, check=True, timeout=120)

    def restore() -> None:
        stack.supervisor.stop_all(AIRFLOW)
        run("dropdb", "--force", database.DATABASE)
        run("createdb", database.DATABASE)
        run("pg_restore", "--dbname", database.DATABASE, "--exit-on-error", str(file))
        for service in AIRFLOW:
            stack.supervisor.launch(service)
        stack.wait_for_console()

    run("pg_dump", "--format=custom", f"--file={file}", database.DATABASE)
    try:
        yield restore
    finally:
        file.unlink()

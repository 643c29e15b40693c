"""A lake of a benchmark's own, branches of it, and Spark jobs on these by what Spark itself keeps of them."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pyhive import hive

from include.orchestration.nessie import Nessie
from include.settings import CHECKOUT
from tests.drivers.running_stack import RunningStack

PEERS = CHECKOUT / "benchmarks" / "peers"
TABLES_ALONE = ("up", "--only", "tables", "--exchange", "replica")
"""A catalog, a store and Spark's SQL server with all tables, and nothing that writes."""
START_SECONDS = 1200
JOB_SECONDS = 7200

FILES, BYTES = "number of result data files", "total data file size (bytes)"
"""What Iceberg reports to Spark of each scan that it has planned."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What the queries of one Spark application took.

    Args:
        seconds: From the start of its first query to the end of its last; Spark's own start lies before.
        files: Data files that its scans read, each as often as it was read.
        bytes: The sizes of these.
    """

    seconds: float
    files: int
    bytes: int


@contextmanager
def running(*command: str, choices: Mapping[str, str] = MappingProxyType({})) -> Iterator[RunningStack]:
    """Start a stack by a command of `python -m stack`; afterwards nothing of it is left.

    Args:
        choices: `LAKE_…` variables.

    Raises:
        RuntimeError: If it does not start; with what it printed last.
    """
    stack = RunningStack(CHECKOUT / ".lake" / f"benchmark-{secrets.token_hex(3)}", choices)
    try:
        started = stack.command(*command, timeout=START_SECONDS)
        if started.returncode != 0:
            raise RuntimeError(f"the stack does not start: {started.stdout[-2000:]}")
        yield stack
    finally:
        stack.command("down", timeout=180)
        shutil.rmtree(stack.state, ignore_errors=True)


@contextmanager
def branch(stack: RunningStack, purpose: str, *, of: str = "main") -> Iterator[str]:
    """Give a branch to write on, of a name that none had before; it is gone afterwards."""
    name = f"{purpose}-{secrets.token_hex(3)}"
    with Nessie(stack.settings.nessie_api) as nessie:
        nessie.create(name, at=nessie.get(of).hash, source=of)
        try:
            yield name
        finally:
            nessie.delete(nessie.get(name))


@contextmanager
def sql(stack: RunningStack, ref: str) -> Iterator[Any]:
    """Open a cursor on Spark's SQL server whose session is on a branch."""
    server, session = stack.settings.thrift, {"set:hiveconf:spark.sql.catalog.lake.ref": ref}
    with (
        hive.connect(host=server.host, port=server.port, configuration=session) as connection,
        connection.cursor() as cursor,
    ):
        yield cursor


def submit(stack: RunningStack, ref: str, *words: str) -> Spent:
    """Run a Spark job on a branch as Airflow does, and return what it took."""
    with told(stack, ref) as (settings, events):
        run(stack, "spark-submit", *settings, *words)
        return spent(events)


@contextmanager
def told(stack: RunningStack, ref: str) -> Iterator[tuple[Sequence[str], Path]]:
    """Give the words with which Spark writes to a branch and keeps its events, and the folder in which it does."""
    events = stack.state / "events" / secrets.token_hex(3)
    events.mkdir(parents=True)
    settings = {
        f"spark.sql.catalog.{stack.settings.catalog}.ref": ref,
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": events.as_uri(),
    }
    confs = (word for name, value in settings.items() for word in ("--conf", f"{name}={value}"))
    try:
        yield ("--master", stack.settings.spark_master, *confs), events
    finally:
        shutil.rmtree(events)


def run(stack: RunningStack, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the stack's environment.

    Raises:
        RuntimeError: If it fails; with what it printed last.
    """
    done = stack.run(*command, timeout=JOB_SECONDS)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout[-4000:]}")
    return done


def dbt_in_session(
    stack: RunningStack, project: Path, schema: str, *words: str, spark: Sequence[str], **variables: str
) -> tuple[float, str]:
    """Run dbt with a Spark session within its own process.

    Args:
        project: The folder of the project.
        schema: Where its models are; with the catalog's name.
        words: What `dbt run` is told.
        spark: What spark-submit would be told.
        variables: Of its environment.

    Returns:
        How many seconds all of it took, and what it printed.
    """
    folder = stack.state / "dbt-in-session" / project.name
    places = {"project": project, "profiles": PEERS / "session", "target": folder, "log": folder / "logs"}
    ends = {"project": "dir", "profiles": "dir", "target": "path", "log": "path"}
    paths = (word for name, path in places.items() for word in (f"--{name}-{ends[name]}", str(path)))
    variables |= {"SCHEMA": schema, "PYSPARK_SUBMIT_ARGS": " ".join([*spark, "pyspark-shell"])}
    environment = (f"{name}={value}" for name, value in variables.items())
    timed = (sys.executable, str(PEERS / "timed.py"))
    printed = run(stack, "env", *environment, *timed, "dbt", "--no-use-colors", "run", *paths, *words).stdout
    return json.loads(printed.splitlines()[-1])["seconds"], printed


def spent(events: Path) -> Spent:
    """Read what one application took from the folder of its events, as Spark wrote them."""
    (log,) = events.iterdir()
    names: dict[int, str] = {}
    values: dict[int, int] = {}
    begun, ended = list[int](), list[int]()
    with log.open() as lines:
        for event in map(json.loads, lines):
            match event["Event"].rpartition(".")[2]:
                case "SparkListenerSQLExecutionStart":
                    begun.append(event["time"])
                    names |= _metrics(event["sparkPlanInfo"])
                case "SparkListenerSQLAdaptiveExecutionUpdate":
                    names |= _metrics(event["sparkPlanInfo"])
                case "SparkListenerSQLExecutionEnd":
                    ended.append(event["time"])
                case "SparkListenerDriverAccumUpdates":
                    values |= {int(number): int(value) for number, value in event["accumUpdates"]}
    files, size = (sum(value for number, value in values.items() if names.get(number) == of) for of in (FILES, BYTES))
    return Spent((max(ended) - min(begun)) / 1000, files, size)


def _metrics(plan: Mapping[str, Any]) -> dict[int, str]:
    """Name the figures of a plan and of all below it, by their numbers."""
    named = {metric["accumulatorId"]: metric["name"] for metric in plan["metrics"]}
    for child in plan["children"]:
        named |= _metrics(child)
    return named

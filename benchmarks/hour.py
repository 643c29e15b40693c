"""How long the hour takes on a running demo, task by task, and what a model of Gold costs beyond its SQL.

The demo's last hour is rebuilt again and again while the live feed runs; when its tasks began and ended, Airflow says.
Beyond a model's SQL is what its task takes more than dbt says that the model took. That is held against dbt with a
Spark session of its own for each model, as Cosmos' LOCAL mode runs it where there is no SQL server: the same models on
a branch, one after the other, from the start of `dbt run` to its end. There nothing of Airflow's is counted.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

import polars as pl
from polars.testing import assert_frame_equal

from benchmarks.demo import span, stack_hour, times
from benchmarks.lake import branch, dbt_in_session, running, told
from benchmarks.report import spread, table
from include.contracts import gold
from include.contracts.table import Table
from include.orchestration.hours import Hour
from include.orchestration.lake import open_catalog, rows_of_hour
from include.settings import CHECKOUT
from tests.drivers.airflow import DAG, Airflow
from tests.drivers.running_stack import RunningStack

PROJECT = CHECKOUT / "dbt_project"
GROUP = "dbt_gold"
LONGEST, LARGEST_SHARE = 60, 0.2
"""Seconds of the hour, and of the time beyond SQL with a session for each model: what is promised."""
CALM = timedelta(minutes=3)
"""No other hour is built for so long."""
TOOK = re.compile(r"OK created sql .*\[\S+ in ([\d.]+)s\]")
"""dbt's line about a model that it has built."""
COLOUR = re.compile("\x1b\\[\\d*m")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Args:
        rebuilds: How often the hour is rebuilt.
        sessions: How often each model is built with a session of its own, once more not counted.
        models: So many of the models.
    """

    rebuilds: int
    sessions: int
    models: int


WHOLE = Size(rebuilds=5, sessions=3, models=100)
SMOKE = Size(rebuilds=1, sessions=1, models=1)

Tasks = Mapping[str, tuple[datetime, datetime]]
"""When each task of a run began and ended."""


def measure(size: Size = WHOLE) -> str:
    """Start a demo, rebuild its last hour, and return the tables.

    Raises:
        RuntimeError: If an hour fails.
        AssertionError: If a session builds other rows than those that were published.
    """
    with running("demo") as stack:
        airflow = Airflow(stack.settings)
        newest = max(airflow.runs(), key=lambda run: str(run["partition_key"]))
        hour = stack_hour(newest)
        rebuilds, beyond = list[Tasks](), dict[str, list[float]]()
        for _ in range(size.rebuilds):
            airflow.calm(CALM)
            run = airflow.ended(airflow.trigger(hour), within=600)
            rebuilds.append(times(airflow, run))
            for model, seconds in _beyond_sql(airflow, run["dag_run_id"], rebuilds[-1]).items():
                beyond.setdefault(model, []).append(seconds)
            print(f"{hour}: {span(rebuilds[-1], 'wait_for_hour', 0):.0f} s", flush=True)
        airflow.calm(CALM)
        tables = [each for each in gold.TABLES if each.name in beyond][: size.models]
        sessions = {each.name: in_sessions(stack, each, Hour(hour), size.sessions) for each in tables}
    return f"{_of_hours(rebuilds)}\n\n{_of_models(beyond, sessions)}"


def _beyond_sql(airflow: Airflow, run_id: str, tasks: Tasks) -> dict[str, float]:
    """Return the seconds of each model's task beyond those that dbt says the model took."""
    found = {}
    for task, (began, ended) in tasks.items():
        if task.startswith(f"{GROUP}."):
            path = f"/dags/{DAG}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task}/logs/1"
            lines = airflow.call("GET", path, params={"full_content": True})["content"]
            said = "\n".join(str(line.get("event", "")) for line in lines)
            found[task.removeprefix(f"{GROUP}.")] = (ended - began).total_seconds() - sql_seconds(said)
    return found


def sql_seconds(said: str) -> float:
    """Return how many seconds dbt says that its model took.

    Raises:
        ValueError: If it does not say that it has built one.
    """
    (seconds,) = TOOK.findall(COLOUR.sub("", said))
    return float(seconds)


def in_sessions(stack: RunningStack, model: Table, hour: Hour, count: int) -> list[float]:
    """Build a model so often, each time with a session of its own; return the seconds beyond its SQL of each."""
    beyond = []
    with branch(stack, "session") as ref, told(stack, ref) as (words, _):
        published = _rows(stack, ref, model, hour)
        for _ in range(count + 1):
            seconds, said = dbt_in_session(
                stack, PROJECT, "lake.gold", "--select", model.name, spark=words, LAKE_HOUR=hour.key
            )
            assert_frame_equal(_rows(stack, ref, model, hour), published)
            beyond.append(seconds - sql_seconds(said))
            print(f"{model.name} in a session: {beyond[-1]:.1f} s beyond its SQL", flush=True)
    return beyond[1:]  # in the first, dbt parses the project


def _rows(stack: RunningStack, ref: str, model: Table, hour: Hour) -> pl.DataFrame:
    with open_catalog(stack.settings, ref) as catalog:
        return pl.DataFrame(pl.from_arrow(rows_of_hour(catalog, model, hour))).sort(model.grain)


def _of_hours(rebuilds: Sequence[Tasks]) -> str:
    """Write when the tasks from `wait_for_hour` to `publish` began, and what they took."""
    whole = [span(tasks, "wait_for_hour", 0) for tasks in rebuilds]
    began = {
        task: statistics.median((tasks[task][0] - tasks["wait_for_hour"][0]).total_seconds() for tasks in rebuilds)
        for task in set.intersection(*(set(tasks) for tasks in rebuilds))
        if all(tasks[task][0] <= tasks["publish"][0] for tasks in rebuilds)
    }
    rows = [
        (
            task,
            f"{after:.1f}",
            spread([(ended - start).total_seconds() for start, ended in (tasks[task] for tasks in rebuilds)], ".1f"),
        )
        for task, after in sorted(began.items(), key=lambda item: item[1])
    ]
    return (
        f"{len(rebuilds)} rebuilds: {spread(whole)} s from `wait_for_hour` to `publish`; promised are at most "
        f"{LONGEST} s.\n\n{table(('task', 'begins after, s', 'takes, s'), rows)}"
    )


def _of_models(beyond: Mapping[str, Sequence[float]], sessions: Mapping[str, Sequence[float]]) -> str:
    """Write what each model costs beyond its SQL."""
    rows = [
        (
            model,
            spread(beyond[model], ".1f"),
            spread(sessions[model], ".1f"),
            f"{statistics.median(beyond[model]) / statistics.median(sessions[model]):.2f}",
            f"at most {LARGEST_SHARE}",
        )
        for model in sessions
    ]
    return table(("seconds beyond SQL", "its task", "a session of its own", "share", "promised"), rows)

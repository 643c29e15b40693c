"""Branches of the lake from the command line: made, listed, compared and dropped here, merged by Airflow."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

from include.contracts.table import Layer
from include.orchestration import branches
from include.orchestration.airflow_api import AirflowApi
from include.orchestration.branches import BranchError
from include.orchestration.hours import Hour
from include.orchestration.judging import judge_hour
from include.orchestration.nessie import Nessie
from include.orchestration.row_changes import described, row_changes
from include.quality.judgement import Verdict
from include.settings import Settings
from stack.failures import StackError

DAG = "branches"
POLL_SECONDS = 2.0
PATIENCE_SECONDS = 1800.0
"""How long a merge may take: it waits for the hour that is being built."""


def create(settings: Settings, name: str) -> str:
    """Make a branch and return its name in the catalog.

    Raises:
        StackError: If the name is no good, or Nessie does not answer.
    """
    with _nessie(settings) as nessie:
        return branches.create(nessie, name, main=settings.branch).name


def listing(settings: Settings) -> list[str]:
    """Describe all branches of people, a line each."""
    with _nessie(settings) as nessie:
        found = [branches.changes(nessie, branch.name, main=settings.branch) for branch in branches.development(nessie)]
    return [f"{each.branch}: {len(each.tables)} tables changed, {each.behind} commits behind main" for each in found]


def name_of(settings: Settings, name: str) -> str:
    """Return the name in the catalog of a branch that is there."""
    with _nessie(settings) as nessie:
        return branches.get(nessie, name).name


def differences(settings: Settings, name: str) -> list[str]:
    """Say what a branch made of the lake, a line for each table."""
    with _nessie(settings) as nessie:
        found = branches.changes(nessie, name, main=settings.branch)
    return described(found, row_changes(settings, found))


def drop(settings: Settings, name: str) -> str:
    """Delete a branch and return the commit on which it stood."""
    with _nessie(settings) as nessie:
        return branches.drop(nessie, name).hash


def merge(settings: Settings, name: str) -> str:
    """Have Airflow merge a branch in its turn, wait for that, and return the note of the run.

    Raises:
        StackError: If it cannot be merged, or Airflow does not answer; the text says what to do.
    """
    with _nessie(settings) as nessie:
        branches.refuse_unmergeable(branches.changes(nessie, name, main=settings.branch))
    try:
        with AirflowApi.of(settings) as airflow:
            run_id = airflow.begin(DAG, {"action": "merge", "name": name})
            run = airflow.run(DAG, run_id)
            ends_at = time.monotonic() + PATIENCE_SECONDS
            while run["state"] not in ("success", "failed") and time.monotonic() < ends_at:
                time.sleep(POLL_SECONDS)
                run = airflow.run(DAG, run_id)
    except httpx.HTTPError as error:
        raise StackError(f"Airflow does not answer at {settings.airflow.url} ({error}): run `make doctor`.") from error
    if run["state"] != "success":
        raise StackError(
            f"{name} was not merged: the run {run_id} of {DAG} is {run['state']}, and main is as it was. The log of "
            f"the failed task says why: {settings.airflow_pages}/dags/{DAG}."
        )
    return str(run["note"] or "")


def judge(settings: Settings, name: str, layer: Layer, hour: str) -> Sequence[Verdict]:
    """Hold a layer's hour on a branch against the gates.

    Raises:
        StackError: If there is no such branch, or the hour is none.
    """
    try:
        return judge_hour(settings, layer, name_of(settings, name), Hour.of_key(hour)).verdicts
    except ValueError as error:
        raise StackError(f"{error}.") from error


def usage(settings: Settings, branch: str) -> list[tuple[str, str]]:
    """Say how each tool is made to work on a branch: its name, and the command or setting."""
    short = branch.removeprefix(branches.PREFIX)
    hour = f"{settings.first_hour:%Y-%m-%dT%H}" if settings.first_hour else "2026-11-20T09"
    conf = f"spark.sql.catalog.{settings.catalog}.ref={branch}"
    job = "spark_apps/bronze_to_silver/job.py"
    return [
        ("dbt", f"python -m stack dbt --branch {short} --hour {hour} run --select ohlcv_1h"),
        ("gates", f"python -m stack gate --branch {short} --hour {hour}"),
        ("Spark jobs", f"python -m stack run spark-submit --conf {conf} {job} --hour {hour}"),
        ("Spark SQL", f"python -m stack run spark-sql --conf {conf}"),
        ("Thrift server", f"set:hiveconf:{conf} in the session's configuration"),
        ("pyiceberg", settings.nessie_iceberg(branch)),
        ("then", f"python -m stack branch diff {short}; … merge {short}; … drop {short}"),
    ]


@contextmanager
def _nessie(settings: Settings) -> Iterator[Nessie]:
    """Ask Nessie, and put what a person can mend in one sentence."""
    try:
        with Nessie(settings.nessie_api) as nessie:
            yield nessie
    except BranchError as error:
        text = str(error)
        raise StackError(f"{text[0].upper()}{text[1:]}.") from error
    except httpx.TransportError as error:
        raise StackError(f"Nessie does not answer at {settings.nessie.url}: run `make doctor`.") from error

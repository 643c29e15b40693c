"""The hours of the lake as Airflow sees them, through its REST API."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from include.settings import Settings
from stack import console
from stack.failures import StackError
from stack.layout import revealed
from stack.probes import here

DAG = "trades_hourly"
SECONDS = 15.0
RETRY_SECONDS = 2.0
PATIENCE_SECONDS = 120.0
"""How long a question is asked again: on a small machine the hour's own work keeps the console waiting."""


@dataclass(frozen=True, slots=True)
class HourRun:
    """The newest run of one hour."""

    hour: str
    run_id: str
    state: str


class AirflowView:
    """A reader of Airflow's API, logged in as the administrator."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.airflow.url
        credentials = {"username": console.USER, "password": revealed(settings, "airflow_password")}
        self._token: str = self._ask("/auth/token", body=credentials)["access_token"]

    def runs(self) -> dict[str, HourRun]:
        """Return the newest run of each hour, by partition key; none before Airflow has read the DAG."""
        try:
            answer = self._ask(f"/api/v2/dags/{DAG}/dagRuns?order_by=run_after&limit=100")
        except urllib.error.HTTPError as refused:
            if refused.code == 404:
                return {}
            raise
        runs = [run for run in answer["dag_runs"] if run.get("partition_key")]
        return {run["partition_key"]: HourRun(run["partition_key"], run["dag_run_id"], run["state"]) for run in runs}

    def tasks(self, run: HourRun, state: str) -> list[str]:
        """Name the tasks of a run that are in a state."""
        run_id = urllib.parse.quote(run.run_id, safe="")
        answer = self._ask(f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances?state={state}&limit=100")
        return [task["task_id"] for task in answer["task_instances"]]

    def import_errors(self) -> list[str]:
        """Return what Airflow could not read, one sentence a file."""
        answer = self._ask("/api/v2/importErrors")
        return [
            f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}"
            for error in answer["import_errors"]
        ]  # fmt: skip

    def _ask(self, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(self._root + path, headers={"Accept": "application/json"})
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        else:
            request.add_header("Authorization", f"Bearer {self._token}")
        asked_at = time.monotonic()
        while True:
            try:
                with here(request, timeout=SECONDS) as response:
                    answer: dict[str, Any] = json.load(response)
                    return answer
            except urllib.error.HTTPError:
                raise
            except OSError as error:
                if time.monotonic() - asked_at > PATIENCE_SECONDS:
                    raise StackError(
                        f"Airflow does not answer at {self._root} ({error}): run `make doctor`."
                    ) from error
                time.sleep(RETRY_SECONDS)

"""Airflow through its REST API, as a person's scripts would use it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import quote

import httpx

from include.settings import Settings
from tests.drivers.waiting import eventually

DAG = "trades_hourly"
KEY = "%Y-%m-%dT%H"
ENDED = ("success", "failed")
READING = timedelta(seconds=5)
"""Nobody answers sooner. Airflow fails a task whose answer overtakes the end of the process that asked."""


@dataclass(frozen=True)
class Airflow:
    """A client that is logged in as the administrator."""

    settings: Settings

    @cached_property
    def _token(self) -> str:
        secret = self.settings.airflow_password
        assert secret is not None, "the stack has made no password for Airflow"
        credentials = {"username": "admin", "password": secret.get_secret_value()}
        answer = httpx.post(f"{self.settings.airflow.url}/auth/token", json=credentials, timeout=60)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def call(self, method: str, path: str, *, root: str = "/api/v2", **request: Any) -> dict[str, Any]:
        """Make one request.

        Args:
            root: What stands before the path: Airflow's own API, `/ui` for what its pages alone ask for, or a plugin's.

        Raises:
            httpx.HTTPStatusError: If Airflow refuses it.
        """
        url = f"{self.settings.airflow.url}{root}{path}"
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = httpx.request(method, url, headers=headers, timeout=60, **request)
        if answer.is_error:
            raise httpx.HTTPStatusError(
                f"{method} {path}: {answer.status_code} {answer.text}", request=answer.request, response=answer
            )
        return dict(answer.json()) if answer.content else {}

    def page(self, url: str) -> httpx.Response:
        """Read a page as who is logged in, whatever the answer is."""
        return httpx.get(url, headers={"Authorization": f"Bearer {self._token}"}, timeout=60)

    def runs_of(self, dag: str) -> list[dict[str, Any]]:
        """Return the runs of any DAG, newest first."""
        found = self.call("GET", f"/dags/{dag}/dagRuns", params={"limit": 100, "order_by": "-run_after"})
        return list(found["dag_runs"])

    def do(self, dag: str, conf: dict[str, Any], *, within: float) -> dict[str, Any]:
        """Run a DAG by hand with what its form would say, and return the run when it has ended."""
        return self.end_of(dag, self.begin(dag, conf), within=within)

    def begin(self, dag: str, conf: dict[str, Any]) -> str:
        """Begin to run a DAG by hand with what its form would say; return the run's id."""
        request = {"logical_date": None, "conf": conf}
        return str(self.call("POST", f"/dags/{dag}/dagRuns", json=request)["dag_run_id"])

    def question(self, dag: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Wait until a task of a run has asked a person, and one could have read it; return what it asks."""
        path = f"/dags/{dag}/dagRuns/{quote(run_id, safe='')}/hitlDetails"

        def look() -> dict[str, Any] | None:
            asked = self.call("GET", path)["hitl_details"]
            read = (one for one in asked if datetime.now(UTC) - datetime.fromisoformat(one["created_at"]) > READING)
            return next((one for one in read if one["task_instance"]["task_id"] == task_id), None)

        return eventually(look, within=120, what=f"the question of {task_id} in {run_id}", every=2)

    def answer(self, dag: str, run_id: str, task_id: str, option: str) -> None:
        """Answer a question as a person does on the page of required actions."""
        path = f"/dags/{dag}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}/-1/hitlDetails"
        self.call("PATCH", path, json={"chosen_options": [option], "params_input": {}})

    def end_of(self, dag: str, run_id: str, *, within: float) -> dict[str, Any]:
        """Wait until a run of any DAG has ended, and return it."""

        def look() -> dict[str, Any] | None:
            run = self.call("GET", f"/dags/{dag}/dagRuns/{quote(run_id, safe='')}")
            return run if run["state"] in ENDED else None

        return eventually(look, within=within, what=f"the end of {dag} {run_id}", every=2)

    def hour_told(self, hour: str) -> dict[str, Any]:
        """Return what the hours page tells of an hour, given by its partition key."""
        return self.call("GET", f"/hours/{hour}", root="/hours/api")

    def wait_for_backfills(self, dag: str = DAG) -> None:
        """Wait until a further backfill may begin: Airflow has one at a time, and is slow to see that it is over."""

        def are_over() -> bool:
            begun = self.call("GET", "/backfills", params={"dag_id": dag})["backfills"]
            return all(backfill["completed_at"] for backfill in begun)

        eventually(are_over, within=300, what=f"the end of the backfills of {dag}", every=2)

    def keep_variable(self, name: str, value: Any) -> None:
        """Make a variable hold a value, written as JSON."""
        known = {variable["key"] for variable in self.call("GET", "/variables", params={"limit": 100})["variables"]}
        method, path = ("PATCH", f"/variables/{name}") if name in known else ("POST", "/variables")
        self.call(method, path, json={"key": name, "value": json.dumps(value)})

    def newest_event(self, asset: str) -> dict[str, Any] | None:
        """Return what the newest event of an asset tells; None before the first."""
        return next(iter(self.events(asset)), None)

    def events(self, asset: str) -> list[dict[str, Any]]:
        """Return what the events of an asset tell, the newest first."""
        known = self.call("GET", "/assets", params={"name_pattern": asset})["assets"]
        if not known:
            return []
        asked = {"asset_id": known[0]["id"], "order_by": "-timestamp", "limit": 100}
        found = self.call("GET", "/assets/events", params=asked)["asset_events"]
        return [dict(event["extra"]) for event in found]

    def status_shown(self, table: str, hour: datetime) -> str:
        """Return the letter with which the hours page shows an hour of a table."""
        told = self.call("GET", "/grid", root="/hours/api", params={"hours": 1, "until": hour.strftime(KEY)})
        (letter,) = [row["hours"] for row in told["tables"] if row["name"] == table]
        return str(letter)

    def asset(self, name: str) -> dict[str, Any]:
        """Return an asset by its whole name."""
        known = self.call("GET", "/assets", params={"name_pattern": name, "limit": 100})["assets"]
        return next(dict(asset) for asset in known if asset["name"] == name)

    def event_of(self, asset: str, hour: datetime) -> dict[str, Any]:
        """Return what the newest event of an asset for an hour tells."""
        asked = {"asset_id": self.asset(asset)["id"], "order_by": "-timestamp", "limit": 50}
        events = self.call("GET", "/assets/events", params=asked)["asset_events"]
        return next(dict(event["extra"]) for event in events if event["extra"]["partition_key"] == hour.strftime(KEY))

    def runs(self, hour: datetime | None = None) -> list[dict[str, Any]]:
        """Return the runs of the hourly DAG, newest first; of one hour if that is given."""
        return [run for run in self.runs_of(DAG) if hour is None or run["partition_key"] == hour.strftime(KEY)]

    def run(self, run_id: str) -> dict[str, Any]:
        """Return one run."""
        return self.call("GET", f"/dags/{DAG}/dagRuns/{quote(run_id, safe='')}")

    def trigger(self, hour: datetime) -> str:
        """Start a run of one hour and return its id."""
        request = {"partition_key": hour.strftime(KEY), "logical_date": None}
        return str(self.call("POST", f"/dags/{DAG}/dagRuns", json=request)["dag_run_id"])

    def ended(self, run_id: str, *, within: float) -> dict[str, Any]:
        """Wait until a run has ended and return it.

        Raises:
            TimeoutError: If it goes on longer than that; the text has its tasks.
        """

        def look() -> dict[str, Any] | None:
            run = self.run(run_id)
            return run if run["state"] in ENDED else None

        try:
            return eventually(look, within=within, what=f"the end of {run_id}", every=3)
        except TimeoutError as late:
            states = {task["task_id"]: task["state"] for task in self.tasks(run_id)}
            raise TimeoutError(f"{late}; its tasks: {states}") from None

    def calm(self, span: timedelta) -> None:
        """Wait until no run goes on and none is due for a while."""

        def is_calm() -> bool:
            now = datetime.now(UTC)
            # A run is made a moment after the full hour.
            begins_soon = (now + span).hour != (now - timedelta(seconds=30)).hour
            return not begins_soon and all(run["state"] in ENDED for run in self.runs())

        eventually(is_calm, within=span.total_seconds() + 400, what="the end of all runs", every=5)

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run, mapped ones each."""
        path = f"/dags/{DAG}/dagRuns/{quote(run_id, safe='')}/taskInstances"
        return list(self.call("GET", path, params={"limit": 200})["task_instances"])

    def result_of(self, run_id: str, task_id: str, *, dag: str = DAG) -> Any:
        """Return what a task of a run gave as its result."""
        path = f"/dags/{dag}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.call("GET", path, params={"deserialize": True})["value"]

    def task_ids(self) -> set[str]:
        """Return the ids of the DAG's tasks."""
        return {task["task_id"] for task in self.call("GET", f"/dags/{DAG}/tasks")["tasks"]}

"""Airflow through its REST API, for what a task has no other way to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

import httpx

from include.settings import Settings

USER = "admin"
"""Who asks: the stack's only user."""
ANSWER_S = 10.0
BACKFILL_S = 120.0
"""How long Airflow may take to make the runs of a backfill, some 20 ms each on an idle machine."""
PAGE = 100
"""How many runs Airflow gives at most at a time."""


class AirflowApi:
    """A client that is logged in."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    @classmethod
    @contextmanager
    def of(cls, settings: Settings) -> Iterator[Self]:
        """Log in.

        Raises:
            ValueError: If the stack has not made its secrets yet.
            httpx.HTTPError: If the API server does not answer, or refuses.
        """
        if settings.airflow_password is None:
            raise ValueError(f"no password in {settings.state_dir}; run `python -m stack init`")
        login = {"username": USER, "password": settings.airflow_password.get_secret_value()}
        with httpx.Client(base_url=settings.airflow.url, timeout=ANSWER_S) as client:
            token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield cls(client)

    def write_note(self, dag_id: str, run_id: str, note: str) -> None:
        """Write a run's note, in place of the one before."""
        self._client.patch(f"{_runs(dag_id)}/{quote(run_id, safe='')}", json={"note": note}).raise_for_status()

    def begin(self, dag_id: str, conf: Mapping[str, object]) -> str:
        """Begin a run with what a person would put into its form; return its id."""
        answer = self._client.post(_runs(dag_id), json={"logical_date": None, "conf": dict(conf)}).raise_for_status()
        return str(answer.json()["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return a run as the API shows it: its `state`, its `note` and more."""
        return dict(self._client.get(f"{_runs(dag_id)}/{quote(run_id, safe='')}").raise_for_status().json())

    def trigger(self, dag_id: str, run_id: str, *, partition_key: str, note: str) -> bool:
        """Ask for a run of one partition; return whether it is new, and not one that was asked for before."""
        asked = {"dag_run_id": run_id, "partition_key": partition_key, "logical_date": None, "note": note}
        answer = self._client.post(_runs(dag_id), json=asked)
        if answer.status_code == httpx.codes.CONFLICT:
            return False
        answer.raise_for_status()
        return True

    def runs(self, dag_id: str, **asked: str | Sequence[str]) -> list[dict[str, Any]]:
        """Return the runs for which all holds that is asked, as Airflow names its filters, the oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            page: dict[str, str | int | Sequence[str]] = {
                **asked,
                "order_by": "id",
                "limit": PAGE,
                "offset": len(found),
            }
            answer = self._client.get(_runs(dag_id), params=page).raise_for_status().json()["dag_runs"]
            found += answer
            if len(answer) < PAGE:
                return found

    def backfills(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the newest backfills of a DAG, the one that is active among them."""
        asked: dict[str, str | int] = {"dag_id": dag_id, "order_by": "-id", "limit": PAGE}
        answer = self._client.get("/api/v2/backfills", params=asked).raise_for_status().json()
        return list(answer["backfills"])

    def begin_backfill(
        self,
        dag_id: str,
        first: datetime,
        last: datetime,
        *,
        backwards: bool,
        max_active_runs: int,
        conf: dict[str, str],
    ) -> bool:
        """Have the partitions from `first` to `last` built, those that were built before among them.

        Returns:
            Whether it began; if not, the DAG has another backfill.
        """
        asked = {
            "dag_id": dag_id,
            "from_date": first.isoformat(),
            "to_date": last.isoformat(),
            "run_backwards": backwards,
            "max_active_runs": max_active_runs,
            "reprocess_behavior": "completed",
            "dag_run_conf": conf,
        }
        answer = self._client.post("/api/v2/backfills", json=asked, timeout=BACKFILL_S)
        if answer.status_code == httpx.codes.CONFLICT:
            return False
        answer.raise_for_status()
        return True


def _runs(dag_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns"

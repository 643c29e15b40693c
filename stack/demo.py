"""The demo after the stack is up: watch history come in and the hours be published, then show what there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from include.orchestration.hours import KEY_FORMAT
from include.settings import Settings
from stack import first_start
from stack.airflow_view import AirflowView, HourRun
from stack.failures import StackError
from stack.probes import here

POLL_SECONDS = 2.0
PATIENCE = timedelta(minutes=30)
"""How long the demo watches without an hour being published before it gives up."""
FAILED = "failed"
PUBLISHED = "success"


@dataclass(frozen=True, slots=True)
class Moment:
    """How far the demo is.

    Args:
        history: Share of the history fetched per product, from 0 to 1; empty while the producer does not say.
        hours: State of each hour of the demo, in words.
    """

    history: Mapping[str, float]
    hours: Mapping[str, str]

    @property
    def is_done(self) -> bool:
        """Whether every hour is published."""
        return all(state == PUBLISHED for state in self.hours.values())


def demo_hours(settings: Settings) -> list[datetime]:
    """Return the hours that were full when this lake began."""
    kept = first_start.read(settings.state_dir / first_start.CHOICES)
    if settings.first_hour is None:
        raise StackError(f"There is no lake in {settings.state_dir} yet: run `make demo`.")
    return [settings.first_hour + timedelta(hours=n) for n in range(int(kept["LAKE_HISTORY_HOURS"]))]


def watch(settings: Settings, tell: Callable[[Moment], None]) -> None:
    """Wait until every hour of the demo is published.

    Args:
        tell: Is told every few seconds how far it is.

    Raises:
        StackError: If the run of an hour failed, or no hour was published for a long time.
    """
    airflow = AirflowView(settings)
    keys = [hour.strftime(KEY_FORMAT) for hour in demo_hours(settings)]
    published, since = 0, time.monotonic()
    while True:
        runs = airflow.runs()
        moment = Moment(history_share(settings), {key: _words(airflow, runs.get(key)) for key in keys})
        tell(moment)
        failed = [run for key in keys if (run := runs.get(key)) is not None and run.state == FAILED]
        if failed:
            tasks = ", ".join(airflow.tasks(failed[0], FAILED)) or "a task"
            raise StackError(
                f"The hour {failed[0].hour} was not published: {tasks} failed. Open {settings.airflow_pages} for its "
                "log and docs/runbook.md for what to do; the stack stays up."
            )
        if moment.is_done:
            return
        count = sum(state == PUBLISHED for state in moment.hours.values())
        if count > published:
            published, since = count, time.monotonic()
        if time.monotonic() - since > PATIENCE.total_seconds():
            unread = airflow.import_errors()
            reason = unread[0] if unread else f"see {settings.airflow_pages} and run `make doctor`"
            raise StackError(f"No hour was published for {PATIENCE.seconds // 60} minutes: {reason}.")
        time.sleep(POLL_SECONDS)


def history_share(settings: Settings) -> dict[str, float]:
    """Return how much of its history each product has, as the producer says; empty if it does not answer."""
    try:
        with here(f"{settings.producer_metrics.url}/metrics", timeout=3) as response:
            text = response.read().decode()
    except OSError:
        return {}
    return {
        sample.labels["product_id"]: sample.value
        for family in text_string_to_metric_families(text)
        if family.name == "ingestion_history_share"
        for sample in family.samples
    }


def _words(airflow: AirflowView, run: HourRun | None) -> str:
    """Say what happens to an hour."""
    if run is None:
        return "not started"
    if run.state != "running":
        return run.state
    busy = airflow.tasks(run, "running") + airflow.tasks(run, "deferred")
    return f"running: {', '.join(busy)}" if busy else "running"

"""### The supervisor of the ingestion.

One run is always active. It brings the producers and the Bronze writer to the state that is wanted of them, then
watches them for ten minutes: records that wait without being committed, the age of the last commit to Bronze, producers
that hear nothing, messages whose fields are not what they were. What is in trouble is restarted, later each time; after
four restarts within an hour it is left to a person, with one alert, and another one when it is well again. How the
ingestion fares is in the newest event of the asset `ingestion_health`.

Pause, resume, drain and restart services with `streaming_control`. Without Airflow the ingestion goes on by itself: the
process manager restarts whatever dies.

**When it fails**, the ingestion goes on unwatched until the next run, which starts at once.

- `bring_up` failed: the process manager does not answer; `make status`, `make up`.
- `watch_…` failed: the triggerer was lost; the next run watches again.
- *was in charge; now it is …*: another supervisor took over; stop the one that is not wanted.
- alert *given up*: read the service's log in `<state>/logs`, mend the cause, then *restart* with `streaming_control`.
"""

from __future__ import annotations

from airflow.sdk import dag

from include.orchestration.defaults import TASK_DEFAULTS
from include.orchestration.ingestion import CHECKS
from include.orchestration.schedule import first_run
from include.orchestration.supervision import WatchIngestion, bring_up, mend, report, tell_drift
from include.settings import Settings


@dag(
    schedule="@continuous",
    start_date=first_run(Settings.load()),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["ingestion", "supervision"],
    default_args=TASK_DEFAULTS,
)
def streaming_supervisor() -> None:
    """Order the tasks of one round."""
    charge = bring_up()
    names = [f"watch_{check}" for check in CHECKS]
    watches = [
        WatchIngestion(task_id=name, check=check, siblings=[other for other in names if other != name])
        for name, check in zip(names, CHECKS, strict=True)
    ]
    charge >> watches >> report()
    watches >> mend(charge)
    watches >> tell_drift()


streaming_supervisor()

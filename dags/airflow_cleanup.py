"""### Clean up after Airflow itself.

Each day, runs that began longer than `LAKE_AIRFLOW_PAST_KEPT` (30 days) ago are deleted from Airflow's database, and
all that belongs to them, and so are logs of that age. Asset events stay: the page **Hours** shows from them what was
published, and how, however old it is. What the gates found stays too, in `ops.gate_results`.

**When it fails**, nothing is lost and nothing waits: the database and the logs only grow. The next run does it.

- `clean_records`: its log has what `airflow db clean` said; most often the database was busy.
- `clean_logs`: a folder cannot be deleted; the message names it.
"""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, dag

from include.orchestration.cleaning import clean_logs, clean_records
from include.orchestration.defaults import TASK_DEFAULTS


@dag(
    # When neither the hour's job nor the upkeep runs. Without a start date the first run is the next one due.
    schedule=CronTriggerTimetable("45 3 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["daily", "upkeep"],
    default_args=TASK_DEFAULTS,
)
def airflow_cleanup() -> None:
    """Clean both, in no order."""
    clean_records()
    clean_logs()


airflow_cleanup()

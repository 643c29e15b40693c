"""### Build hours again, one request after the other.

Any range of hours, forwards or backwards, beside the live schedule: *Rebuild these hours* on the page **Hours**
triggers this, and so can you, from the form, with `airflow dags trigger` or over REST. Airflow lets a DAG have one
backfill at a time; here further requests wait in line. Each is a run of this DAG: the queued ones are the queue, in the
order in which they were asked for, and a run's note says how it ended. An hour that is already published is replaced as
a whole, and until then readers see it as it was.

To cancel a request that waits, mark its run as failed; to cancel one that builds, cancel its backfill (the page has a
button for both).

**When it fails**, the message names the hours that were not built; those that were, stay.

- *their runs say why*: open the hour in the page or its run in `trades_hourly`, mend the cause, clear that run, or ask
  for these hours anew.
- *the backfill was cancelled*: by a person. Ask anew for what is still wanted.
- *is not over yet*, *lies before the lake's first*, *is not the start of an hour*: the form asks for what cannot be.
- *does not answer*: `make doctor`; then clear the task. It goes on where it was and begins no hour twice.
"""

from __future__ import annotations

from airflow.sdk import Param, dag

from include.orchestration.defaults import TASK_DEFAULTS
from include.orchestration.rebuild_tasks import RebuildHours

TIME = {"type": "string", "format": "date-time"}


@dag(
    schedule=None,
    # The queue: whoever asked first is built first.
    max_active_runs=1,
    doc_md=__doc__,
    tags=["backfill", "silver", "gold"],
    default_args=TASK_DEFAULTS,
    params={
        "first_hour": Param(**TIME, description="The first hour, its start in UTC."),
        "last_hour": Param(**TIME, description="The last hour, which is built too."),
        "backwards": Param(False, type="boolean", description="Whether the newest hour is built first."),
    },
)
def rebuild_hours() -> None:
    """Have the hours built."""
    RebuildHours(task_id="rebuild_range")


rebuild_hours()

"""### Upkeep of the streamed tables.

The stream commits to Bronze every few seconds, so its tables gather snapshots and small files by the thousand. Each
hour, between two hours of the market, this keeps them small; rows are never changed. Branches of attempts that were not
published are deleted once `LAKE_FAILED_BRANCHES_KEPT` (14 days) has passed, people's branches once nobody has committed
to them for `LAKE_DEVELOPMENT_BRANCHES_KEPT` (14 days).

**When it fails**, nothing is lost and readers see what they saw: queries of Bronze only grow slower. The next run does
what this one did not. If it fails again and again, its log names the table; see `docs/runbook.md`.
"""

from __future__ import annotations

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import CronTriggerTimetable, dag

from include.orchestration.defaults import TASK_DEFAULTS
from include.orchestration.publishing import forget_development_branches, forget_failed_attempts
from include.orchestration.spark_jobs import stand_alone
from include.settings import CHECKOUT


@dag(
    # Half an hour away from the hour's own job: two Spark jobs at once are too many for a small machine.
    # Without a start date the first run is the next one due, not one for the half hour that has passed.
    schedule=CronTriggerTimetable("30 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["hourly", "bronze", "upkeep"],
    default_args=TASK_DEFAULTS,
)
def bronze_upkeep() -> None:
    """Do all of it, in no order."""
    SparkSubmitOperator(
        task_id="keep_bronze_small",
        application=str(CHECKOUT / "spark_apps" / "bronze_upkeep" / "job.py"),
        pre_execute=stand_alone,
    )
    forget_failed_attempts()
    forget_development_branches()


bronze_upkeep()

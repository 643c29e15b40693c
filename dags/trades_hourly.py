"""### An hour of trades, from Bronze to published candles.

Every hour of the market is a partition, `2026-11-20T09`. Its Silver and Gold are written on a Nessie branch of their
own, judged there, and reach readers in one merge. Rebuild an hour from the Backfill dialog, or by a trigger with its
partition key: the rows come out the same.

**When it fails**, readers see what they saw before; the alert names the rule, the rows and the branch that is kept as
`failed-…`. Mend the cause, then clear `bronze_to_silver` *with all that follows it*: the turn is taken and a branch
opened anew. If Bronze was at fault, clear from `gate_bronze`.

- `wait_for_hour` waits long: a product or the Bronze writer is behind; the task's log says which.
- `repair_gaps` failed: the exchange did not give what Bronze lacks; clear it to ask again.
- `take_turn` waits: another run has the turn. It is given back when that run ends, however it ends.
- a gate failed: it does not try again; see `ops.gate_results`, and `docs/runbook.md` under each task's name.
- `publish` failed: something changed Silver or Gold without the turn.
"""

from __future__ import annotations

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import CronPartitionTimetable, dag

from include.contracts.table import Layer
from include.orchestration.announcing import announce_tables, measure_hour
from include.orchestration.dbt_models import gold_models
from include.orchestration.defaults import TASK_DEFAULTS
from include.orchestration.gates import QualityGate
from include.orchestration.hours import KEY_FORMAT
from include.orchestration.mending import tell_mended
from include.orchestration.publishing import BRANCH, give_turn_back, open_branch, publish
from include.orchestration.repairing import RepairGaps
from include.orchestration.schedule import first_run
from include.orchestration.spark_jobs import stand_alone
from include.orchestration.waiting import TakeTurn, WaitForHour
from include.settings import CHECKOUT, Settings

settings = Settings.load()


@dag(
    schedule=CronPartitionTimetable("0 * * * *", timezone="UTC", run_offset=-1, key_format=KEY_FORMAT),
    start_date=first_run(settings),
    catchup=True,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["hourly", "silver", "gold"],
    default_args=TASK_DEFAULTS,
)
def trades_hourly() -> None:
    """Order the tasks of one hour."""
    turn = TakeTurn(task_id="take_turn").as_setup()
    branch = open_branch(turn.output).as_setup()
    bronze_to_silver = SparkSubmitOperator(
        task_id="bronze_to_silver",
        application=str(CHECKOUT / "spark_apps" / "bronze_to_silver" / "job.py"),
        application_args=["--hour", "{{ dag_run.partition_key }}"],
        conf={"spark.sql.catalog.lake.ref": BRANCH},
        pre_execute=stand_alone,
    )
    gate_silver = QualityGate(task_id="gate_silver", layer=Layer.SILVER, branch=BRANCH)
    gold = gold_models(settings, opened=branch, judged=gate_silver, group_id="dbt_gold")
    published = publish(turn.output)
    announced = announce_tables(settings, measure_hour(published), group_id="announce")

    WaitForHour(task_id="wait_for_hour") >> RepairGaps(task_id="repair_gaps") >> turn >> branch
    branch >> QualityGate(task_id="gate_bronze", layer=Layer.BRONZE, branch=BRANCH) >> bronze_to_silver >> gate_silver
    (
        gold
        >> QualityGate(task_id="gate_gold", layer=Layer.GOLD, branch=BRANCH)
        >> published
        >> [announced, tell_mended(), give_turn_back(turn.output).as_teardown(setups=[turn, branch])]
    )


trades_hourly()

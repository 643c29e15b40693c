"""### The daily maintenance of all tables.

Small files become few, as each table's contract says; manifests are merged; of Silver and Gold, snapshots older than
`LAKE_TIME_TRAVEL` (7 days) are dropped; days of Bronze past their retention (30 days, or `LAKE_BRONZE_KEPT`) go to the
archive. Rows of Silver and Gold stay what they are: they are laid anew on a branch, and published in one merge by the
owner of the turn. Then one sweep deletes files that no branch, tag or promised moment of the past reaches, if they are
older than `LAKE_UNREACHABLE_KEPT` (3 days), and each day that is whole gets a tag, `day-2026-11-20`.

Each table's task returns how the table was before and after. The stream and hours go on: hours wait for the turn.

**When it fails**, nothing is lost and readers see what they saw; it can wait for the next day. Clear the task that
failed; if it is one of `by_turn`, clear `take_turn` *with all that follows it*. See `docs/runbook.md`.

- `take_turn` waits: an hour is being built. It goes on by itself.
- `sweep` failed: a branch or tag points to a file that is not there; nothing was deleted.
"""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, Param, TaskGroup, dag

from include.contracts import TABLES
from include.orchestration.defaults import TASK_DEFAULTS
from include.orchestration.maintaining import BY_TURN, MaintainTable, publish_maintenance, sweep, tag_days
from include.orchestration.publishing import give_turn_back, open_branch
from include.orchestration.waiting import TakeTurn
from include.settings import Settings

settings = Settings.load()


@dag(
    # Away from the full hour, when hours are built. Without a start date the first run is the next one due.
    schedule=CronTriggerTimetable("40 3 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    # Two Spark jobs at once are too many for a small machine.
    max_active_tasks=1,
    doc_md=__doc__,
    tags=["daily", "bronze", "silver", "gold", "upkeep"],
    default_args=TASK_DEFAULTS,
    params={
        "tables": Param(
            [], type="array", items={"type": "string"}, examples=[table.full_name for table in TABLES],
            title="Tables", description="Only these; all if none is given.",
        ),
        "settled_before": Param(
            None, type=["null", "string"], format="date-time", title="Compact Bronze up to",
            description="Only what arrived before this; the hour in which the run begins if nothing is given.",
        ),
    },
)  # fmt: skip
def iceberg_maintenance() -> None:
    """Order the tasks."""
    turn = TakeTurn(task_id="take_turn", is_of_hour=False).as_setup()
    branch = open_branch(turn.output).as_setup()
    with TaskGroup("by_turn") as by_turn:
        for table in BY_TURN:
            MaintainTable(table=table, settings=settings)
    with TaskGroup("beside_the_stream") as beside_the_stream:
        for table in (table for table in TABLES if table not in BY_TURN):
            MaintainTable(table=table, settings=settings)
    published, swept = publish_maintenance(), sweep()
    turn >> branch >> by_turn >> published >> give_turn_back(turn.output).as_teardown(setups=[turn, branch])
    [published, beside_the_stream] >> swept >> tag_days()


iceberg_maintenance()

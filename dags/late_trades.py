"""### Late trades: hours that have come to lack something.

A trade can reach Bronze after its hour was published: from a feed that lagged, a gap that was repaired late, a dead
letter that was replayed, history that was fetched for a new product. Each hour this looks at what has come to Bronze
since its last run. Hours that lack trades of it are built again by runs of `trades_hourly` named `late__…`, if they
ended at most `LAKE_LATE_GRACE` (48 h) ago; of older ones an alert tells. `ops.late_trades` has all of them.

It takes the turn for the time it looks, so that no hour is on its way meanwhile.

**When it fails**, hours stay as they were published; clear the task that failed, or let the next run do it: that finds
the same trades and asks for the same runs.

- `take_turn` waits: an hour is being built. It goes on by itself.
- `find_late_trades`: the catalog or the store does not answer; `make doctor`.
- `rebuild_hours`: the Thrift server or Airflow's API does not answer; `make doctor`.
"""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, dag

from include.orchestration.defaults import TASK_DEFAULTS
from include.orchestration.late_tasks import find_late_trades, rebuild_hours
from include.orchestration.publishing import give_turn_back
from include.orchestration.waiting import TakeTurn


@dag(
    # Between the hour's own job and the upkeep. Without a start date the first run is the next one due.
    schedule=CronTriggerTimetable("15 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["hourly", "silver"],
    default_args=TASK_DEFAULTS,
)
def late_trades() -> None:
    """Order the tasks of one look."""
    turn = TakeTurn(task_id="take_turn", is_of_hour=False).as_setup()
    found = find_late_trades(turn.output)
    turn >> found >> [rebuild_hours(found), give_turn_back(turn.output).as_teardown(setups=[turn])]


late_trades()

"""### Branches of the lake, for people.

A branch is the whole lake, made in a second: nothing is copied. Run Spark, dbt and the gates on it (`make branch
NAME=x` prints how), see what came of it, then merge or drop it; no reader sees anything before. `docs/branches.md` has
a walk through. Trigger it and choose; what was found or done is in the run's note.

- **create**: a branch `dev-<name>` of what readers see now.
- **diff**: its tables against where it left `main`: snapshots, rows added, removed and changed by the table's grain.
- **merge**: takes the turn, as an hour does, holds every hour that the branch changed against the gates, and brings
  all of it into `main` in one commit. Then the branch is gone.
- **drop**: deletes it, with what was not merged. Branches that nobody commits to go by themselves after
  `LAKE_DEVELOPMENT_BRANCHES_KEPT` (14 days).

**When it fails**, `main` is as it was, and the message says what to do.

- *main has changed …, too*: an hour was published meanwhile. Drop the branch, create it again, repeat, merge at once.
- *breaks … rules*: a gate's verdict; mend it on the branch, then clear `judge_branch` with all that follows it.
- `take_turn` waits: an hour is being built. It goes on by itself.
"""

from __future__ import annotations

from airflow.sdk import Param, dag

from include.orchestration.branch_tasks import (
    ACTIONS,
    choose_action,
    compare_branch,
    create_branch,
    drop_branch,
    judge_branch,
    merge_branch,
)
from include.orchestration.defaults import TASK_DEFAULTS
from include.orchestration.publishing import give_turn_back
from include.orchestration.waiting import TakeTurn


@dag(
    schedule=None,
    doc_md=__doc__,
    tags=["branches", "silver", "gold"],
    default_args=TASK_DEFAULTS,
    params={
        "action": Param("create", enum=list(ACTIONS), description="What is to happen."),
        "name": Param(type="string", minLength=1, description="Small letters, digits and dashes: `wider-candles`."),
    },
)
def branches() -> None:
    """Order the tasks of one choice."""
    turn = TakeTurn(task_id="take_turn", is_of_hour=False).as_setup()
    judged = judge_branch(turn.output)
    merged = merge_branch(turn.output, judged)
    choose_action() >> [create_branch(), compare_branch(), drop_branch(), turn]
    turn >> judged >> merged >> give_turn_back(turn.output).as_teardown(setups=[turn])


branches()

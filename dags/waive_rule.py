"""### Let a blocked hour through.

A gate blocked an hour, and a person who has looked at it wants it published as it is. Trigger this with the hour, the
table, the rule and the reason, as the alert names them. The question, with what the gate found, is then under
*Required Actions*, for seven days. Approved, the waiver is kept in `ops.waivers` and the hour is built again; its gate
says `waived` and who allowed it, and the hour is published. Rejected, nothing happens.

A waiver is for one hour and one rule of one table, and for no more broken rows than were there when it was given. If
other rules block the hour, too, it is built again when the last of them is waived. Nothing holds the turn meanwhile.

**When it fails**, nothing has been waived unless `keep_waiver` is green.

- `find_block`: the form cannot be read, or the rule is not what blocks the hour; its message names what does.
- `ask_person`: nobody answered for seven days. Trigger it anew if it still matters.
- `keep_waiver`, `rebuild_hour`: the Thrift server or Airflow's API does not answer; `make doctor`, then clear the task.
"""

from __future__ import annotations

from airflow.sdk import Param, dag

from include.orchestration.defaults import TASK_DEFAULTS
from include.orchestration.waiver_tasks import ask_person, find_block, keep_waiver, rebuild_hour

TIME = {"type": ["null", "string"], "format": "date-time"}


@dag(
    schedule=None,
    doc_md=__doc__,
    tags=["quality"],
    default_args=TASK_DEFAULTS,
    params={
        "hour": Param("", type="string", description="The blocked hour: `2026-11-20T09`."),
        "table": Param("", type="string", description="The table whose rule blocks it: `gold.ohlcv_1m`."),
        "rule": Param("", type="string", description="The id of that rule: `every_minute`."),
        "why": Param("", type="string", description="Why the hour may be published nevertheless; it is kept."),
        "holds_until": Param(
            None, **TIME, description="Until when rebuilds of the hour may break it; empty: for ever."
        ),
    },
)
def waive_rule() -> None:
    """Order the tasks of one waiver."""
    block, question = find_block(), ask_person()
    block >> question
    rebuild_hour(keep_waiver(block, question.output))


waive_rule()

"""### List, inspect and replay dead letters.

A frame that a producer could not read, and a raw record that Bronze could not parse, are kept with their bytes in
`bronze.dead_letters`. Trigger this and choose which are meant and what is to be done; the run's note has the result.

- **list**: how many of each venue and reason, since when; the newest are shown in the log of `list_letters`.
- **inspect**: the newest 50 of the chosen ones, whole, in the log of `inspect_letters`.
- **replay**: today's parser reads the chosen ones again. What it can read goes to the venue's raw topic as if it had
  just come, each letter exactly once, however often it is chosen; what it cannot read stays, with its reason.

A replay after the parser was mended gives back the trades. The note names the published hours that they are of;
`late_trades` rebuilds those that lack them, or says that they are too old for it.

**When it fails**, clear the task that failed: a replay that was cut off is finished first, and sends nothing twice.

- *replays is already running*: another run replays; this one goes on when it is cleared.
- *Kafka did not acknowledge*: clear it when the broker is well.
- a form that cannot be read: the message says how the field is written; trigger it anew.
"""

from __future__ import annotations

from airflow.sdk import Param, dag

from include.orchestration.dead_letters import ACTIONS, ANY, venues
from include.orchestration.defaults import TASK_DEFAULTS
from include.orchestration.letter_tasks import inspect_letters, list_letters, name_hours, replay_letters, write_note

TIME = {"type": ["null", "string"], "format": "date-time"}


@dag(
    schedule=None,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["ingestion", "dead letters"],
    default_args=TASK_DEFAULTS,
    params={
        "action": Param("list", enum=list(ACTIONS), description="What is to happen."),
        "venue": Param(ANY, enum=venues(), description="Whose letters."),
        "reason": Param("", type=["null", "string"], description="A text that the reason contains; empty for any."),
        "since": Param(None, **TIME, description="Received at this time or later."),
        "until": Param(None, **TIME, description="Received before this time."),
        "offsets": Param(
            "", type=["null", "string"], description="Exactly these: `coinbase.dlq/0/17`, or `coinbase.dlq/0/17-20`."
        ),
    },
)
def dead_letters() -> None:
    """Order the tasks of one choice."""
    counts = list_letters()
    replayed = replay_letters()
    note = write_note(counts, replayed, name_hours(replayed))
    counts >> [inspect_letters(), replayed]
    replayed >> note


dead_letters()

"""### Pause, resume, drain and restart the ingestion.

Trigger it and choose; the choice holds until another one is made, also over restarts of everything.

- **pause**: the service stands still. Nothing is lost: what a paused producer misses it fetches when it resumes, and
  what a paused Bronze writer leaves in Kafka it takes then, within Kafka's seven days.
- **resume**: it runs again.
- **drain**: the producers stand still; once the Bronze writer has taken all they sent, it stands still, too. Which
  service is chosen makes no difference.
- **restart**: it is stopped and started, and what failed before is forgiven.

**When it fails**, the choice may be noted and not yet made so: the supervisor's next run makes it so. If
`wait_until_drained` waits long, `make status` shows what lags.
"""

from __future__ import annotations

from airflow.sdk import Param, dag

from include.orchestration.control import ALL, WaitUntilDrained, act, stop_writer
from include.orchestration.defaults import TASK_DEFAULTS
from include.orchestration.ingestion import ACTIONS, SERVICES


@dag(
    schedule=None,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["ingestion", "supervision"],
    default_args=TASK_DEFAULTS,
    params={
        "action": Param("restart", enum=list(ACTIONS), description="What is to happen."),
        "service": Param(ALL, enum=[ALL, *SERVICES], description="To what."),
    },
)
def streaming_control() -> None:
    """Order the tasks of one choice."""
    act() >> WaitUntilDrained(task_id="wait_until_drained") >> stop_writer()


streaming_control()

"""### Pause, resume, drain, restart and scale the ingestion, and fetch history.

Trigger it and choose; the choice holds until another one is made, also over restarts of everything.

- **pause**: the service stands still. Nothing is lost: what a paused producer misses it fetches when it resumes, and
  what a paused Bronze writer leaves in Kafka it takes then, within Kafka's seven days.
- **resume**: it runs again.
- **drain**: the producers stand still; once the Bronze writer has taken all they sent, it stands still, too, unless a
  producer was resumed meanwhile. Which service is chosen makes no difference.
- **restart**: it is stopped and started, and what failed before is forgiven.
- **scale**: the Bronze writer starts anew with so many `cores`, each of which writes a file a batch. A producer is one
  process a venue, held to that by its lease, and brings 180,000 trades through a core in a second.
- **fetch history**: trades of the chosen producer's products from before what is there, so many `hours` back or from
  `first_hour` on, beside the producer. The log of `fetch_history` shows how far it is; killed or cleared, it goes on
  where it was. In the end it names the hours that can be built, and how; it builds none by itself.

**When it fails**, the choice may be noted and not yet made so: the supervisor's next run makes it so. If
`wait_until_drained` waits long, `make status` shows what lags. Clear `fetch_history` to let it go on.
"""

from __future__ import annotations

from airflow.sdk import Param, dag

from include.orchestration.control import ALL, WaitUntilDrained, act, stop_writer
from include.orchestration.defaults import TASK_DEFAULTS
from include.orchestration.fetching import MOST_HOURS, FetchHistory, plan_history
from include.orchestration.ingestion import ACTIONS, MOST_CORES, SERVICES

HOURS = {"type": ["null", "integer"], "minimum": 1, "maximum": MOST_HOURS}
TIME = {"type": ["null", "string"], "format": "date-time"}


@dag(
    schedule=None,
    # A history that takes hours must not keep anybody from pausing what brings it in.
    max_active_runs=8,
    doc_md=__doc__,
    tags=["ingestion", "supervision"],
    default_args=TASK_DEFAULTS,
    params={
        "action": Param("restart", enum=list(ACTIONS), description="What is to happen."),
        "service": Param(ALL, enum=[ALL, *SERVICES], description="To what."),
        "cores": Param(
            1,
            type="integer",
            minimum=1,
            maximum=MOST_CORES,
            description="To scale: the Bronze writer's. Producers are one a venue by lease, and keep up on one core.",
        ),
        "hours": Param(None, **HOURS, description="To fetch history: how many hours before the first that is there."),
        "first_hour": Param(None, **TIME, description="Or from which hour on, its start in UTC."),
    },
)
def streaming_control() -> None:
    """Order the tasks of one choice."""
    act() >> WaitUntilDrained(task_id="wait_until_drained") >> stop_writer()
    FetchHistory(task_id="fetch_history", plan=plan_history(), max_active_tis_per_dag=1)


streaming_control()

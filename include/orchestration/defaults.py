"""What every task of every DAG has in common."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from include.orchestration.alerts import AlertOnFailure

TASK_DEFAULTS: dict[str, Any] = {
    # A service that died is back within a minute: 10, 20 and 40 s outlast it.
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2,
    "on_failure_callback": [AlertOnFailure()],
}

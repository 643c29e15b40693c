"""### A second look at each published hour.

Begins when an hour's candles are published, and changes nothing of them. The one-minute candles are held against the
exchange's own, digit for digit: `gold.candle_reconciliation` has both, and whether they are equal. Venues that have no
candles of their own are left out by their contract. With the profile `standard`, Trino then reads the hour as people
do: its trades, minutes and one-hour candles must agree.

It judges the newest publication of its hour: an hour that is built again is looked at again, and its rows replaced.

**When it fails**, the hour stays published; clear the task that failed.

- `reconcile_candles`: the exchange did not give its candles; the task's log says why.
- `judge_candles`: the Thrift server or the store does not answer; `make doctor`.
- `audit_with_trino`: its message names the products whose tables do not agree. See `docs/runbook.md`.
"""

from __future__ import annotations

from airflow.sdk import PartitionedAssetTimetable, dag

from include.contracts import gold
from include.orchestration.defaults import TASK_DEFAULTS
from include.orchestration.reconciling import judge_candles, reconcile_candles
from include.orchestration.trino_audit import audit_with_trino
from include.renderers.airflow import asset
from include.settings import Settings

settings = Settings.load()


@dag(
    schedule=PartitionedAssetTimetable(assets=asset(gold.OHLCV_1M)),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["hourly", "quality"],
    default_args=TASK_DEFAULTS,
)
def data_quality() -> None:
    """Order the tasks of one look."""
    judged = reconcile_candles() >> judge_candles()
    if settings.profile == "standard":
        judged >> audit_with_trino(settings)


data_quality()

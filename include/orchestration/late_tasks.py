"""The tasks that look for late trades and have their hours built again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from airflow.sdk import Variable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.contracts import ops
from include.orchestration import alerts, late_trades
from include.orchestration import turn as turns
from include.orchestration.airflow_api import AirflowApi
from include.orchestration.evidence import as_text, of_text
from include.orchestration.hours import Hour
from include.orchestration.lake import open_catalog
from include.orchestration.late_trades import Late, Look
from include.orchestration.nessie import Nessie
from include.orchestration.ops_rows import insert
from include.orchestration.rebuilding import HOURLY
from include.renderers.airflow import asset
from include.settings import Settings

log = logging.getLogger(__name__)

SEEN = "late_trades_seen"
"""The Airflow Variable with how far in Bronze the last look came, by topic and partition."""
REBUILD, TOO_OLD = "rebuild", "too old"


@task
def find_late_trades(turn: dict[str, str]) -> dict[str, Any]:
    """Look at what has come to Bronze since the last run; the result is what published hours lack of it.

    Raises:
        AirflowFailException: If this run no longer has the turn, so that an hour may be on its way.
    """
    settings = Settings.load()
    seen = of_text(Variable.get(SEEN, default={}, deserialize_json=True))
    with open_catalog(settings, settings.branch) as catalog:
        found = late_trades.look(catalog, seen, datetime.now(UTC) - settings.late_grace)
    with Nessie(settings.nessie_api) as nessie:
        try:
            turns.require(nessie, turn["hash"])
        except turns.TurnLostError as error:
            raise AirflowFailException(str(error)) from error
    for late in found.late:
        log.warning("%s has come to lack %d trades of %s", late.hour, late.late_count, late.product)
    return found.as_json()


@task(outlets=[asset(ops.LATE_TRADES)])
def rebuild_hours(told: dict[str, Any]) -> list[str]:
    """Ask for a run of each hour that lacks trades and is not too old, tell of the others; the result is those runs.

    Only then are the trades seen: whatever is cut off here is found and asked for again, under the same names.
    """
    settings, context = Settings.load(), get_current_context()
    found, now = Look.of(told), datetime.now(UTC)
    hours = {key: list(late) for key, late in groupby(found.late, key=lambda late: late.hour)}
    too_old = {key for key in hours if now - Hour.of_key(key).end > settings.late_grace}
    if hours:
        _keep(settings, found.late, too_old, context["dag_run"].run_id, now)
    runs = []
    with AirflowApi.of(settings) as airflow:
        for key in sorted(hours.keys() - too_old):
            run_id, note = late_trades.run_id(hours[key]), f"came late: {_listing(hours[key])}"
            is_new = airflow.trigger(HOURLY, run_id, partition_key=key, note=note)
            log.info("%s: %s, as %s", key, note if is_new else "was asked for before", run_id)
            runs.append(run_id)
    if too_old:
        listed = "; ".join(f"{key}: {_listing(hours[key])}" for key in sorted(too_old))
        summary = f"trades came later than {settings.late_grace} after the end of {len(too_old)} published hours"
        alerts.warn(context, f"{summary}, which stay as they are: {listed}")
    context["outlet_events"][asset(ops.LATE_TRADES)].extra = late_trades.facts(hours, too_old)
    Variable.set(SEEN, as_text(found.seen), serialize_json=True)
    return runs


def _keep(settings: Settings, late: Sequence[Late], too_old: set[str], run_id: str, now: datetime) -> None:
    """Write to `ops.late_trades` which hours have become stale, and what is done about it."""
    rows = [
        (
            one.hour,
            one.venue,
            one.market,
            one.product_id,
            one.late_count,
            TOO_OLD if one.hour in too_old else REBUILD,
            run_id,
            now.isoformat(),
        )
        for one in late
    ]
    insert(settings, ops.LATE_TRADES, rows)


def _listing(late: Sequence[Late]) -> str:
    return ", ".join(f"{one.late_count} of {one.product}" for one in late)

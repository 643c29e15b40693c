"""Keeping the gates' verdicts where the hour itself is never written: on the branch that readers see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from include.contracts import ops
from include.orchestration.hours import Hour
from include.orchestration.lake import instant, open_catalog, rows
from include.orchestration.ops_rows import insert
from include.orchestration.turn import OF_HOUR
from include.settings import Settings

if TYPE_CHECKING:
    from include.quality.judgement import Verdict


CLOCK_SKEW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which attempt at which hour the verdicts are about."""

    partition_key: str
    run_id: str
    try_number: int
    branch: str
    checked_at: datetime


def keep(settings: Settings, attempt: Attempt, verdicts: Sequence[Verdict]) -> None:
    """Write verdicts to `ops.gate_results` in one commit.

    Raises:
        Exception: Whatever PyHive raises when the Thrift server does not answer or refuses.
    """
    rows = [
        (
            verdict.table,
            attempt.partition_key,
            verdict.rule_id,
            str(verdict.outcome),
            verdict.checked_count,
            verdict.failed_count,
            verdict.samples_json,
            attempt.run_id,
            attempt.try_number,
            attempt.branch,
            attempt.checked_at.isoformat(),
        )
        for verdict in verdicts
    ]
    insert(settings, ops.GATE_RESULTS, rows)


def of_hour(settings: Settings, hour: Hour) -> list[dict[str, Any]]:
    """Return the verdicts of every attempt at building an hour, as rows of `ops.gate_results`.

    What was found of the hour once it was published, or on a person's branch, is not among them.
    """
    # No attempt is older than its hour by more than clocks differ: what was checked before is not read.
    checked = f"checked_at >= '{instant(hour.start - CLOCK_SKEW)}' and branch like '{OF_HOUR}%'"
    with open_catalog(settings, settings.branch) as catalog:
        found = rows(catalog, ops.GATE_RESULTS, f"partition_key == '{hour.key}' and {checked}")
    return found.to_pylist()  # type: ignore[no-any-return]

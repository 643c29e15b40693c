"""Print what the gates found in one run as JSON: `python -m include.hours_page.verdicts RUN_ID BEGAN [ENDED]`.

A process of its own: it needs libraries of some hundred megabytes for a second.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta

from include.contracts import ops
from include.orchestration.lake import instant, open_catalog, rows
from include.settings import Settings

CLOCKS = timedelta(minutes=5)
"""How far the clock of a worker may be from that of the scheduler."""
SHOWN = ("table_name", "rule_id", "verdict", "checked_count", "failed_count", "samples", "try_number", "branch")


def main(run_id: str, began: str, ended: str | None = None) -> None:
    """Read `ops.gate_results` and print a list with an object for each verdict, the newest try first."""
    # The table is partitioned by when it was checked; without bounds each file of years would be opened.
    quoted = run_id.replace("'", "''")
    conditions = [f"run_id == '{quoted}'", f"checked_at >= '{_bound(began, -CLOCKS)}'"]
    conditions += [f"checked_at <= '{_bound(ended, CLOCKS)}'"] if ended else []
    settings = Settings.load()
    with open_catalog(settings, settings.branch) as catalog:
        found = rows(catalog, ops.GATE_RESULTS, " and ".join(conditions), SHOWN).to_pylist()
    found.sort(key=lambda row: (-row["try_number"], row["table_name"], row["rule_id"]))
    print(json.dumps(found, default=str, ensure_ascii=False))  # noqa: T201 (its only output)


def _bound(moment: str, shift: timedelta) -> str:
    return instant(datetime.fromisoformat(moment) + shift)


if __name__ == "__main__":
    main(*sys.argv[1:])

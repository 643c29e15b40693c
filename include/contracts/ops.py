"""Operations: what the pipeline says about itself, written on `main` also when an hour fails."""

from __future__ import annotations

from include.contracts import columns as c
from include.contracts.table import Layer, Rule, Table

GATE_RESULTS = Table(
    layer=Layer.OPS,
    name="gate_results",
    description="One row per table, hour, rule and attempt: what a gate found.",
    owner="platform",
    columns=(
        c.GATE_TABLE,
        c.PARTITION_KEY,
        c.RULE_ID.described("The id of the rule that was checked."),
        c.VERDICT,
        c.CHECKED_COUNT,
        c.FAILED_COUNT,
        c.SAMPLES,
        c.RUN_ID,
        c.TRY_NUMBER,
        c.BRANCH,
        c.CHECKED_AT,
    ),
    grain=("table_name", "partition_key", "rule_id", "run_id", "try_number"),
    partitioned_by=("days(checked_at)",),
    rules=(Rule("verdict_known", "verdict IN ('pass', 'warn', 'block')", "a verdict is one of the three"),),
)

TABLES = (GATE_RESULTS,)

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
    rules=(
        Rule(
            "verdict_known",
            "verdict IN ('pass', 'ignore', 'warn', 'waived', 'block')",
            "a verdict is one of the five",
        ),
    ),
)

LATE_TRADES = Table(
    layer=Layer.OPS,
    name="late_trades",
    description="One row per product, hour and run: trades that came after their hour was published and made it stale.",
    owner="platform",
    columns=(
        c.PARTITION_KEY,
        c.VENUE,
        c.MARKET,
        c.PRODUCT_ID,
        c.LATE_COUNT,
        c.DECISION,
        c.RUN_ID,
        c.FOUND_AT,
    ),
    grain=("partition_key", "venue", "market", "product_id", "run_id"),
    partitioned_by=("days(found_at)",),
    rules=(Rule("decision_known", "decision IN ('rebuild', 'too old')", "a decision is one of the two"),),
)

WAIVERS = Table(
    layer=Layer.OPS,
    name="waivers",
    description="One row per leave that a person gave: an hour may be published although it breaks one rule.",
    owner="platform",
    columns=(
        c.PARTITION_KEY,
        c.GATE_TABLE,
        c.RULE_ID.described("The id of the one rule that no longer blocks the hour."),
        c.FAILED_COUNT.described("Rows that broke it when leave was given; an attempt with more of them is blocked."),
        c.GRANTED_BY,
        c.WHY,
        c.GRANTED_AT,
        c.HOLDS_UNTIL,
        c.RUN_ID,
    ),
    grain=("run_id",),
)

TABLES = (GATE_RESULTS, LATE_TRADES, WAIVERS)

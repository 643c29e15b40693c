"""How far our candles of a published hour may be from the exchange's own."""

from __future__ import annotations

from include.contracts import gold
from include.contracts.table import Action, Rule
from include.quality.judgement import Check

TABLES = gold.AUDITS

CHECKS = (
    Check(
        gold.CANDLE_RECONCILIATION,
        # Of a minute that we say has a gap, nobody claims that it is whole.
        "select * from gold_candle_reconciliation where status is distinct from 'gap'",
        (
            Rule(
                "equals_exchange",
                "agreement = 'equal'",
                "a candle without a gap is the exchange's own",
                Action.IGNORE,
            ),
        ),
    ),
    Check(
        gold.CANDLE_RECONCILIATION,
        """
        select
            venue,
            market,
            product_id,
            count(*) as candle_count,
            count(*) filter (agreement != 'equal') as unequal_count
        from gold_candle_reconciliation
        where status is distinct from 'gap'
        group by all
        """,
        (
            Rule(
                "mostly_equals_exchange",
                "unequal_count * 50 <= candle_count",
                "of a product at most 1 candle in 50 is not the exchange's own",
                Action.WARN,
            ),
        ),
    ),
)

"""What Silver must satisfy before Gold is made from it."""

from __future__ import annotations

from include.contracts import silver
from include.contracts.table import Action, Rule
from include.quality.judgement import Check

TABLES = silver.TABLES

CHECKS = (
    Check(
        silver.TRADES,
        """
        with accepted as (
            select venue, market, product_id, trade_id as trade_ref
            from bronze_trades
            anti join silver_trades_quarantine using (_kafka_topic, _kafka_partition, _kafka_offset)
        ),
        received as (
            select venue, market, product_id, count(*) as accepted_count, count(distinct trade_ref) as expected_count
            from accepted
            group by all
        ),
        kept as (select venue, market, product_id, count(*) as silver_count from silver_trades group by all),
        unexplained as (
            select venue, market, product_id, count(*) as unexplained_count
            from silver_trades
            anti join accepted using (venue, market, product_id, trade_ref)
            group by all
        )
        select
            venue,
            market,
            product_id,
            coalesce(accepted_count, 0) as accepted_count,
            coalesce(accepted_count - expected_count, 0) as duplicate_count,
            coalesce(expected_count, 0) as expected_count,
            coalesce(silver_count, 0) as silver_count,
            coalesce(unexplained_count, 0) as unexplained_count
        from received
        full join kept using (venue, market, product_id)
        left join unexplained using (venue, market, product_id)
        """,
        (
            Rule(
                "reconciles_with_bronze",
                "silver_count = expected_count and unexplained_count = 0",
                "Bronze's rows of the hour = trades + duplicates + quarantined",
            ),
        ),
    ),
    Check(
        silver.TRADES_QUARANTINE,
        """
        select
            (select count(*) from silver_trades_quarantine) as quarantined_count,
            (select count(*) from silver_trades) as trade_count
        """,
        (
            Rule("quarantine_empty", "quarantined_count = 0", "no row broke a rule", Action.WARN),
            Rule(
                "quarantine_small",
                "quarantined_count * 20 <= trade_count + quarantined_count",
                "at most one row in 20 broke a rule",
            ),
        ),
    ),
    Check(
        silver.PRODUCT_HOURS,
        """
        with traded as (select venue, market, product_id, count(*) as trades from silver_trades group by all),
        holes as (
            select venue, market, product_id, sum(missing_count) as missing
            from silver_trade_gaps
            where state != 'repaired'
            group by all
        )
        select
            venue,
            market,
            product_id,
            trade_count,
            coalesce(trades, 0) as silver_count,
            missing_count,
            coalesce(missing, 0) as ledger_count
        from silver_product_hours
        full join traded using (venue, market, product_id)
        left join holes using (venue, market, product_id)
        """,
        (
            Rule("counts_silver", "trade_count = silver_count", "each product's hour counts its trades"),
            Rule("counts_ledger", "missing_count = ledger_count", "each product's hour counts its missing ids"),
        ),
    ),
    Check(
        silver.PRODUCT_HOURS,
        "select count(*) as product_count from silver_product_hours",
        (Rule("hour_was_built", "product_count > 0", "the hour has a row for each followed product"),),
    ),
)

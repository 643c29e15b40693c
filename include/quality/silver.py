"""What Silver must satisfy before Gold is made from it."""

from __future__ import annotations

from include.contracts import silver
from include.contracts.table import Action, Rule
from include.quality.judgement import Check

TABLES = silver.TABLES

HOURS_BEFORE = "gold_ohlcv_1h_before"
"""The frame of the one-hour candles of the day before the hour: the newest close is the last price known before it."""

SHARES = ", ".join(
    f"('{rule.id}', {rule.up_to.numerator}, {rule.up_to.denominator})"
    for rule in silver.TRADES.rules
    if rule.action is Action.QUARANTINE
)
"""Which share of an hour each rule may put into quarantine, as rows of SQL: rule, numerator, denominator."""

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
        silver.TRADES_QUARANTINE,
        f"""
        with allowed (rule_id, most, out_of) as (values {SHARES}),
        found as (select rule_id, count(*) as quarantined_count from silver_trades_quarantine group by all)
        select
            rule_id,
            coalesce(quarantined_count, 0) as quarantined_count,
            (select count(*) from silver_trades) + (select count(*) from silver_trades_quarantine) as row_count,
            most,
            out_of
        from allowed
        full join found using (rule_id)
        """,
        (
            Rule(
                "quarantine_within_share",
                "quarantined_count * out_of <= row_count * most",
                "no rule put more rows into quarantine than its share",
            ),
        ),
    ),
    Check(
        silver.TRADES,
        f"""
        with known as (
            select venue, market, product_id, arg_max(close, window_start) as last_price
            from {HOURS_BEFORE}
            where close is not null
            group by all
        )
        select venue, market, product_id, trade_ref, trade_time, price, last_price
        from silver_trades
        left join known using (venue, market, product_id)
        """,
        (
            Rule(
                "price_near_last",
                f"last_price is null or abs(price - last_price) <= last_price * {silver.PRICE_BAND}",
                f"a price is within {silver.PRICE_BAND:.0%} of the last one before the hour, if that is known",
                Action.WARN,
            ),
        ),
    ),
    Check(
        silver.TRADES,
        "select venue, market, product_id, trade_ref, _source_latency_ms, _is_late_arrival from silver_trades",
        (Rule("came_in_time", "not _is_late_arrival", "no trade of the live feed came late", Action.IGNORE),),
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

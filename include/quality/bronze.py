"""What Bronze must satisfy before an hour is made from it."""

from __future__ import annotations

from include.contracts import bronze
from include.contracts.table import Action, Rule
from include.quality.judgement import Check

TABLES = (bronze.TRADES,)

OFFSETS = "bronze_offsets"
"""The frame of all offsets between the first and the last of the hour, and of dead letters that came in the hour."""

assert bronze.TRADES.freshness is not None
FRESH_MINUTES = int(bronze.TRADES.freshness.total_seconds() // 60)
FRESHNESS = f"interval {FRESH_MINUTES} minutes"

CHECKS = (
    Check(
        bronze.TRADES,
        f"""
        with spans as (
            select _kafka_topic, _kafka_partition, min(_kafka_offset) as first_offset, max(_kafka_offset) as last_offset
            from bronze_trades
            group by all
        )
        select
            spans.*,
            last_offset - first_offset + 1 as offset_count,
            count(*) as row_count,
            count(distinct _kafka_offset) as found_count
        from spans
        join {OFFSETS} using (_kafka_topic, _kafka_partition)
        where _kafka_offset between first_offset and last_offset
        group by all
        """,
        (
            Rule("offsets_contiguous", "found_count = offset_count", "no offset between its first and last is missing"),
            Rule("offsets_unique", "row_count = found_count", "no offset is there twice, as a trade or a dead letter"),
        ),
    ),
    Check(
        bronze.DEAD_LETTERS,
        f"select count(*) filter (is_dead_letter) as dead_letter_count, count(*) as record_count from {OFFSETS}",
        (
            Rule("dead_letters_none", "dead_letter_count = 0", "every record could be read", Action.WARN),
            Rule("dead_letters_few", "dead_letter_count * 10 <= record_count", "at most 1 record in 10 is unreadable"),
        ),
    ),
    Check(
        bronze.TRADES,
        f"""
        with live as (
            select venue, _kafka_time - try_cast(time as timestamp) > {FRESHNESS} as is_behind
            from bronze_trades
            where _source = 'ws'
        )
        select venue, count(*) as live_count, count(*) filter (is_behind) as behind_count from live group by all
        """,
        (
            Rule(
                "fresh",
                "behind_count * 20 <= live_count",
                f"at most 1 live trade in 20 reached Kafka over {FRESH_MINUTES} minutes after it was made",
                Action.WARN,
            ),
        ),
    ),
    Check(
        bronze.TRADES,
        "select count(*) as trade_count from bronze_trades",
        (Rule("hour_has_trades", "trade_count > 0", "something was traded in the hour", Action.WARN),),
    ),
)  # fmt: skip

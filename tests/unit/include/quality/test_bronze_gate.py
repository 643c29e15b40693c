from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from include.contracts import bronze
from include.quality.bronze import CHECKS, OFFSETS, TABLES
from include.quality.judgement import judge
from tests.unit.include.quality.rows import broken, frame

pytestmark = pytest.mark.unit


def trade(offset: int, partition: int = 0) -> dict[str, Any]:
    return {"_kafka_topic": "coinbase.raw.trades", "_kafka_partition": partition, "_kafka_offset": offset}


def broken_by(*trades: dict[str, Any], others: tuple[int, ...] = (), dead: tuple[int, ...] = ()) -> set[str]:
    """Judge an hour's trades; other hours' and dead letters are given by their offsets in partition 0."""
    found = [(row["_kafka_partition"], row["_kafka_offset"], False) for row in trades]
    found += [(0, offset, False) for offset in others] + [(0, offset, True) for offset in dead]
    offsets = pa.table(
        {
            "_kafka_topic": pa.array(["coinbase.raw.trades"] * len(found), pa.string()),
            "_kafka_partition": pa.array([row[0] for row in found], pa.int32()),
            "_kafka_offset": pa.array([row[1] for row in found], pa.int64()),
            "is_dead_letter": pa.array([row[2] for row in found], pa.bool_()),
        }
    )
    frames = {"bronze_trades": frame(bronze.TRADES, *trades), OFFSETS: offsets}
    return {rule for _, rule in broken(judge(TABLES, CHECKS, frames))}


def test_neighbouring_offsets_pass_in_each_partition():
    assert broken_by(trade(7), trade(8), trade(100, partition=1)) == set()


def test_offsets_between_may_be_trades_of_other_hours():
    assert broken_by(trade(7), trade(9), others=(8,)) == set()


def test_offsets_between_may_be_dead_letters_which_warn():
    assert broken_by(*map(trade, range(20)), trade(21), dead=(20,)) == {"dead_letters_none"}


def test_too_many_dead_letters_block():
    assert broken_by(trade(7), trade(9), dead=(8,)) == {"dead_letters_none", "dead_letters_few"}


def test_a_missing_offset_blocks():
    assert broken_by(trade(7), trade(9)) == {"offsets_contiguous"}


def test_an_offset_that_is_there_twice_blocks():
    assert broken_by(trade(7), trade(7), trade(8)) == {"offsets_unique", "grain_unique"}


def test_an_offset_that_is_a_trade_and_a_dead_letter_blocks():
    assert "offsets_unique" in broken_by(*map(trade, range(20)), dead=(3,))


def test_an_hour_without_any_trade_warns():
    assert broken_by() == {"hour_has_trades"}


@pytest.mark.parametrize(
    ("source", "made", "behind", "warned"),
    [
        ("ws", "2026-11-20T09:00:00.000001Z", 20, set()),
        ("ws", "2026-11-20T08:59:59.999999Z", 1, set()),
        ("ws", "2026-11-20T08:59:59.999999Z", 2, {"fresh"}),
        ("rest", "2026-11-20T08:59:59.999999Z", 20, set()),
        ("ws", "a while ago", 20, set()),
    ],
    ids=["in time", "one in twenty", "two in twenty", "history", "no time at all"],
)
def test_live_trades_that_come_minutes_after_they_were_made_warn(source: str, made: str, behind: int, warned: set[str]):
    taken = datetime(2026, 11, 20, 9, 5, tzinfo=UTC)
    trades = [
        trade(offset)
        | {"_source": source, "_kafka_time": taken, "time": made if offset < behind else "2026-11-20T09:04Z"}
        for offset in range(20)
    ]

    assert broken_by(*trades) == warned

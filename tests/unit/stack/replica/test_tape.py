from __future__ import annotations

from decimal import Decimal

import pytest

from stack.replica.recordings import HOUR, MINUTE, SECOND, Play
from stack.replica.tape import Day, Tape
from tests.unit.stack.replica.market import FIVE, recording, trade

pytestmark = pytest.mark.unit


def tape(*trades, hours: int = 1, shift_hours: int = 0) -> Tape:
    return Tape(recording(*trades, hours=hours), shift_hours=shift_hours)


def ids(trades) -> list[int]:
    return [one.trade_id for one in trades]


def played(tape: Tape, after: int, through: int) -> list[int]:
    return ids(play.trade for play in tape.plays(after, through))


def test_a_shift_moves_times_by_whole_hours_and_nothing_else():
    (played,) = tape(trade(1, 7), shift_hours=24).page("BTC-USD", FIVE + 25 * HOUR - 1, limit=10)

    assert played == trade(1, 24 * HOUR + 7)


def test_the_next_cycle_begins_with_the_id_after_the_last():
    once = tape(trade(10, 0), trade(14, 30 * MINUTE))

    assert ids(once.page("BTC-USD", FIVE + 3 * HOUR - 1, limit=10)) == [24, 20, 19, 15, 14, 10]


def test_times_and_sequences_go_on_rising_through_the_cycles():
    now = FIVE + 3 * HOUR - 1

    trades = tape(trade(10, 0), trade(14, 30 * MINUTE)).page("BTC-USD", now, limit=10)[::-1]

    assert [one.time - FIVE for one in trades] == [cycle * HOUR + at for cycle in range(3) for at in (0, 30 * MINUTE)]
    assert [one.sequence for one in trades] == [100, 140, 141, 181, 182, 222]


def test_only_what_has_happened_is_seen():
    once = tape(trade(1, 10), trade(2, 20))

    assert once.last("BTC-USD", FIVE + 9) is None
    assert [once.last("BTC-USD", FIVE + at).trade_id for at in (10, 19, 20, HOUR, HOUR + 10)] == [1, 1, 2, 2, 3]


def test_there_is_nothing_before_the_tape():
    once = tape(trade(1, 10))

    assert once.last("BTC-USD", FIVE - 1) is None
    assert once.page("BTC-USD", FIVE - 1, limit=10) == []
    assert list(once.plays(FIVE - HOUR, FIVE - 1)) == []
    assert once.next_play(FIVE - HOUR) == FIVE + 10


@pytest.mark.parametrize(
    ("above", "below", "limit", "expected"),
    [
        (None, None, 3, [23, 21, 20]),
        (None, 23, 3, [21, 20, 13]),
        (None, 22, 3, [21, 20, 13]),
        (None, 20, 2, [13, 11]),
        (None, 19, 2, [13, 11]),
        (None, 999, 1, [23]),
        (None, 10, 5, []),
        (None, 3, 5, []),
        (20, None, 5, [23, 21]),
        (20, None, 1, [23]),
        (10, 21, 9, [20, 13, 11]),
        (11, 13, 9, []),
        (0, 12, 9, [11, 10]),
        (23, None, 9, []),
        (None, None, 0, []),
    ],
)
def test_a_page_holds_the_newest_ids_between_its_cursors(above, below, limit, expected):
    # Ids 12, 14 to 19 and 22 are holes.
    once = tape(
        trade(10), trade(11, 1), trade(13, 2), trade(20, HOUR), trade(21, HOUR + 1), trade(23, HOUR + 2), hours=2
    )

    assert ids(once.page("BTC-USD", FIVE + 2 * HOUR - 1, above=above, below=below, limit=limit)) == expected


def test_a_repeated_frame_is_played_twice_and_listed_once():
    once = tape(trade(1, 0), trade(2, 10), trade(2, 10))

    assert played(once, FIVE - 1, FIVE + HOUR) == [1, 2, 2, 3]
    assert ids(once.page("BTC-USD", FIVE + HOUR - 1, limit=10)) == [2, 1]


def test_spans_that_follow_each_other_play_every_trade_once():
    once = tape(trade(1, 5, product="ETH-USD"), *(trade(n, n * SECOND) for n in range(1, 3600, 7)))
    edges = range(FIVE, FIVE + 3 * HOUR, 13 * MINUTE + 7)

    in_parts = [one for start in edges for one in once.plays(start, start + 13 * MINUTE + 7)]

    assert in_parts == list(once.plays(FIVE, edges[-1] + 13 * MINUTE + 7))
    assert [one.at for one in in_parts] == sorted(one.at for one in in_parts)


def test_trades_of_one_moment_are_played_together_in_the_order_of_the_recording():
    once = tape(trade(1, 5), trade(8, 5, product="ETH-USD"), trade(2, 5))

    assert [(one.trade.product_id, one.trade.trade_id) for one in once.plays(FIVE, FIVE + 5)] == [
        ("BTC-USD", 1),
        ("ETH-USD", 8),
        ("BTC-USD", 2),
    ]


def test_a_late_frame_is_played_late_and_listed_at_its_time():
    late = recording(trade(1, 0), trade(3, 20), trade(2, 10))
    late.plays[2] = Play(FIVE + 20, trade(2, 10))
    once = Tape(late, shift_hours=0)

    assert played(once, FIVE - 1, FIVE + 20) == [1, 3, 2]
    assert ids(once.page("BTC-USD", FIVE + 10, limit=10)) == [2, 1]


def test_a_listed_product_without_trades_stays_silent():
    once = tape(trade(1))

    assert "DOGE-USD" in once.products
    assert once.last("DOGE-USD", FIVE + HOUR) is None
    assert once.page("DOGE-USD", FIVE + HOUR, limit=10) == []


def test_a_recorded_product_is_listed():
    assert "SKL-GBP" in tape(trade(1, product="SKL-GBP")).products


def test_the_day_before_a_trade_is_summed_up_through_the_cycles():
    once = tape(
        trade(1, 0, price="5", size="0.5"),
        trade(2, HOUR, price="3", size="1"),
        trade(3, 2 * HOUR, price="9", size="2"),
        hours=12,
    )
    first, second = once.page("BTC-USD", FIVE + HOUR, limit=2)[::-1]
    much_later = once.last("BTC-USD", FIVE + 5 * 12 * HOUR + HOUR)

    assert once.day(first) == Day("5", "5", "5", Decimal("0.5"), Decimal("0.5"))
    assert once.day(second) == Day("5", "3", "5", Decimal("1.5"), Decimal("1.5"))
    assert once.day(much_later) == Day("3", "3", "9", Decimal(7), Decimal("19"))

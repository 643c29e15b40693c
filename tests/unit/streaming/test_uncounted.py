from datetime import UTC, datetime, timedelta

import pytest

from streaming.product import ProductKey
from streaming.progress import ProgressRecord
from streaming.uncounted import UncountedProduct, Unprovable

pytestmark = pytest.mark.unit

KEY = ProductKey("bybit", "linear", "BTCUSDT")
TICK = timedelta(milliseconds=1)


def at(second: float, minute: int = 0, hour: int = 9) -> datetime:
    return datetime(2026, 11, 20, hour, minute, int(second), round(second % 1 * 1e6), UTC)


def closed(covered_from: datetime, closed_through: datetime) -> ProgressRecord:
    return ProgressRecord("bybit", "linear", "BTCUSDT", covered_from, closed_through, None)


def take(product: UncountedProduct, *times: datetime) -> list[Unprovable]:
    """Let trades come that the broker acknowledges at once; return what cannot be proved."""
    told = []
    for time in times:
        if broken := product.resume(time):
            unprovable, stretch = broken
            told.append(unprovable)
            stretch.settle()
        product.trade(time).settle()
    return told


def published(product: UncountedProduct) -> list[ProgressRecord]:
    """Publish until there is nothing to say."""
    records = []
    while record := product.news():
        product.published(record)
        records.append(record)
    return records


def test_a_new_product_is_covered_from_after_its_first_trade_and_nothing_was_promised_before():
    product = UncountedProduct(KEY, TICK)

    assert take(product, at(1), at(2)) == []
    assert published(product) == [closed(at(1) + TICK, at(2))]


def test_one_trade_alone_closes_nothing():
    product = UncountedProduct(KEY, TICK)
    take(product, at(1), at(1))

    assert published(product) == []


def test_a_trade_closes_its_product_only_when_all_before_it_are_acknowledged():
    product = UncountedProduct(KEY, TICK)
    take(product, at(1), at(2))
    unacknowledged = product.trade(at(3))
    take(product, at(4))
    assert published(product) == [closed(at(1) + TICK, at(2))]

    unacknowledged.settle()

    assert published(product) == [closed(at(1) + TICK, at(4))]


def test_a_break_is_unprovable_from_the_last_trade_to_the_first_one_after_it():
    product = UncountedProduct(KEY, TICK)
    take(product, at(1), at(2))
    product.lost("cut")

    assert take(product, at(9), at(10)) == [Unprovable(at(2), at(9) + TICK, "cut")]
    assert published(product) == [closed(at(1) + TICK, at(2)), closed(at(9) + TICK, at(10))]


def test_an_hour_that_ended_before_the_break_is_closed_though_the_acknowledgement_comes_after_it():
    product = UncountedProduct(KEY, TICK)
    take(product, at(0, minute=59))
    into_ten = product.trade(at(1, hour=10))
    product.lost("cut")
    take(product, at(5, hour=10), at(6, hour=10))
    assert published(product) == []

    into_ten.settle()

    assert published(product) == [
        closed(at(0, minute=59) + TICK, at(1, hour=10)),
        closed(at(5, hour=10) + TICK, at(6, hour=10)),
    ]


def test_progress_does_not_pass_a_break_before_its_event_is_acknowledged():
    product = UncountedProduct(KEY, TICK)
    take(product, at(1), at(2))
    product.lost("cut")
    broken = product.resume(at(9))
    assert broken is not None
    take(product, at(9), at(10))
    assert published(product) == [closed(at(1) + TICK, at(2))]

    broken[1].settle()

    assert published(product) == [closed(at(9) + TICK, at(10))]


def test_a_start_is_a_break_from_where_the_progress_ended():
    product = UncountedProduct(KEY, TICK, closed(at(1), at(2)))

    assert take(product, at(9)) == [Unprovable(at(2), at(9) + TICK, "the producer was not running")]


def test_of_several_losses_without_a_trade_the_first_is_the_reason():
    product = UncountedProduct(KEY, TICK)
    take(product, at(1))
    product.lost("cut")
    product.lost("refused")

    assert [unprovable.reason for unprovable in take(product, at(9))] == ["cut"]


def test_a_connection_that_begins_in_the_past_proves_nothing_before_what_was_seen():
    product = UncountedProduct(KEY, TICK)
    take(product, at(1), at(5))
    product.lost("cut")

    assert take(product, at(3)) == [Unprovable(at(5), at(5) + TICK, "cut")]
    assert product.last_time == at(5)


def test_a_trade_behind_its_closed_time_is_counted_and_takes_nothing_back():
    product = UncountedProduct(KEY, TICK)
    take(product, at(1), at(5), at(3))

    assert product.late_trades == 1
    assert published(product) == [closed(at(1) + TICK, at(5))]


def test_the_end_of_an_hour_is_told_at_once():
    told = []
    product = UncountedProduct(KEY, TICK, hour_closed=lambda: told.append(product.closed_through))
    take(product, at(58, minute=59), at(59, minute=59), at(1, hour=10))

    assert told[-1] == at(1, hour=10)

from datetime import UTC, datetime, timedelta

import pytest

from streaming.product import ProductKey
from streaming.progress import ProgressRecord
from streaming.uncounted import Recent, RecentTrade, UncountedProduct

pytestmark = pytest.mark.unit

KEY = ProductKey("bybit", "linear", "BTCUSDT")
TICK = timedelta(milliseconds=1)


def at(second: float, minute: int = 0, hour: int = 9) -> datetime:
    return datetime(2026, 11, 20, hour, minute, int(second), round(second % 1 * 1e6), UTC)


def closed(covered_from: datetime, closed_through: datetime) -> ProgressRecord:
    return ProgressRecord("bybit", "linear", "BTCUSDT", covered_from, closed_through, None)


def take(product: UncountedProduct, *times: datetime) -> None:
    """Let trades come that the broker acknowledges at once; each is named after its time."""
    for time in times:
        product.trade(time.isoformat(), time).settle()


def newest(*times: datetime, is_whole: bool = True) -> Recent:
    """What the venue's REST API has, of the same names."""
    return Recent([RecentTrade(time.isoformat(), time, n, b"") for n, time in enumerate(times)], is_whole)


def found(product: UncountedProduct, recent: Recent) -> tuple[list[datetime], str | None] | None:
    """What the newest trades show of the first break: the times of what was missed, and the flaw."""
    finding = product.next_break().find(recent)
    return finding and ([trade.time for trade in finding.missed], finding.flaw)


def broken_after_two() -> UncountedProduct:
    """A product whose connection was lost after 9:00:02, and whose first trade on the next is of 9:00:09."""
    product = UncountedProduct(KEY, TICK)
    take(product, at(1), at(2))
    product.lost("cut")
    take(product, at(9), at(10))
    return product


def published(product: UncountedProduct) -> list[ProgressRecord]:
    """Publish until there is nothing to say."""
    records = []
    while record := product.news():
        product.published(record)
        records.append(record)
    return records


def test_a_new_product_is_covered_from_after_its_first_trade_and_nothing_was_promised_before():
    product = UncountedProduct(KEY, TICK)

    take(product, at(1), at(2))

    assert published(product) == [closed(at(1) + TICK, at(2))]
    assert product.next_break() is None


def test_one_trade_alone_closes_nothing():
    product = UncountedProduct(KEY, TICK)
    take(product, at(1), at(1))

    assert published(product) == []


def test_a_trade_closes_its_product_only_when_all_before_it_are_acknowledged():
    product = UncountedProduct(KEY, TICK)
    take(product, at(1), at(2))
    unacknowledged = product.trade("3", at(3))
    take(product, at(4))
    assert published(product) == [closed(at(1) + TICK, at(2))]

    unacknowledged.settle()

    assert published(product) == [closed(at(1) + TICK, at(4))]


def test_a_break_lasts_from_the_last_trade_to_the_first_one_after_it_and_is_told_when_it_comes():
    came = []
    product = UncountedProduct(KEY, TICK, break_came=lambda: came.append(product.next_break()))
    take(product, at(1), at(2))
    product.lost("cut")
    take(product, at(9))

    [broken] = came
    assert (broken.since, broken.until, broken.reason) == (at(2), at(9) + TICK, "cut")


def test_a_break_that_is_not_bridged_is_passed_over_and_the_product_covered_anew():
    product = broken_after_two()

    product.ended(is_bridged=False)

    assert published(product) == [closed(at(1) + TICK, at(2)), closed(at(9) + TICK, at(10))]
    assert product.next_break() is None


def test_a_break_that_is_bridged_leaves_the_product_covered_as_if_there_had_been_none():
    product = broken_after_two()

    product.ended(is_bridged=True)

    assert published(product) == [closed(at(1) + TICK, at(2)), closed(at(1) + TICK, at(10))]


def test_of_breaks_in_a_row_each_is_bridged_or_not_by_itself():
    product = broken_after_two()
    product.lost("cut again")
    take(product, at(20), at(21))

    product.ended(is_bridged=False)
    assert product.next_break().reason == "cut again"
    product.ended(is_bridged=True)

    assert published(product)[-1] == closed(at(9) + TICK, at(21))


def test_the_newest_trades_bridge_a_break_if_they_hold_both_its_ends_and_go_on_before_it():
    product = broken_after_two()

    assert found(product, newest(at(1), at(2), at(4), at(5), at(9), at(10))) == ([at(4), at(5)], None)


def test_trades_of_the_last_moment_that_did_not_come_were_missed_too():
    product = UncountedProduct(KEY, TICK)
    take(product, at(1))
    for trade_id in ("a", "b"):
        product.trade(trade_id, at(2)).settle()
    product.lost("cut")
    product.trade("x", at(9)).settle()
    names = {"0": at(1), "a": at(2), "b": at(2), "c": at(2), "w": at(9), "x": at(9), "y": at(10)}
    recent = Recent([RecentTrade(name, time, 0, b"") for name, time in names.items()])

    finding = product.next_break().find(recent)

    assert ([trade.trade_id for trade in finding.missed], finding.flaw) == (["c", "w"], None)


NOT_BACK = "the venue's newest trades do not reach back to the last one before it"


@pytest.mark.parametrize(
    ("recent", "missed", "flaw"),
    [
        (newest(at(4), at(9)), [at(4)], NOT_BACK),
        # Others of the last trade's moment may lie just beyond the oldest.
        (newest(at(2), at(4), at(9)), [at(4)], NOT_BACK),
        (newest(at(1), at(4), at(9)), [at(4)], NOT_BACK),
        (newest(at(1), at(2), at(9), is_whole=False), [], "one of the venue's newest trades cannot be read"),
        (newest(at(10), at(11)), [], "the venue's newest trades begin after it"),
    ],
    ids=["none so old", "none older", "without the last one", "one unreadable", "all newer"],
)
def test_newest_trades_that_do_not_show_all_of_a_break_say_why(recent, missed, flaw):
    assert found(broken_after_two(), recent) == (missed, flaw)


@pytest.mark.parametrize("recent", [newest(), newest(at(1), at(2)), newest(at(1), at(2), at(10))])
def test_newest_trades_without_the_first_one_after_a_break_show_nothing_yet(recent):
    assert found(broken_after_two(), recent) is None


def test_a_trade_whose_moment_alone_is_known_from_an_earlier_start_bridges_nothing():
    product = UncountedProduct(KEY, TICK, closed(at(1), at(2)))
    take(product, at(9))

    missed, flaw = found(product, newest(at(1), at(2), at(4), at(9)))

    assert (missed, flaw) == ([at(2), at(4)], "no trade before it is known to this start")


def test_an_hour_that_ended_before_the_break_is_closed_though_the_acknowledgement_comes_after_it():
    product = UncountedProduct(KEY, TICK)
    take(product, at(0, minute=59))
    into_ten = product.trade("10", at(1, hour=10))
    product.lost("cut")
    take(product, at(5, hour=10), at(6, hour=10))
    product.ended(is_bridged=False)
    assert published(product) == []

    into_ten.settle()

    assert published(product) == [
        closed(at(0, minute=59) + TICK, at(1, hour=10)),
        closed(at(5, hour=10) + TICK, at(6, hour=10)),
    ]


@pytest.mark.parametrize("is_bridged", [True, False])
def test_progress_does_not_pass_a_break_before_it_has_ended(is_bridged):
    product = broken_after_two()
    assert published(product) == [closed(at(1) + TICK, at(2))]
    assert product.closed_through == at(2)

    product.ended(is_bridged=is_bridged)

    assert published(product)[-1].closed_through == at(10)


def test_a_start_is_a_break_from_where_the_progress_ended():
    product = UncountedProduct(KEY, TICK, closed(at(1), at(2)))
    take(product, at(9))

    broken = product.next_break()
    assert (broken.since, broken.until, broken.reason) == (at(2), at(9) + TICK, "the producer was not running")


def test_of_several_losses_without_a_trade_the_first_is_the_reason():
    product = UncountedProduct(KEY, TICK)
    take(product, at(1))
    product.lost("cut")
    product.lost("refused")
    take(product, at(9))

    assert product.next_break().reason == "cut"


def test_a_connection_that_begins_in_the_past_proves_nothing_before_what_was_seen():
    product = UncountedProduct(KEY, TICK)
    take(product, at(1), at(5))
    product.lost("cut")
    take(product, at(3))

    assert (product.next_break().since, product.next_break().until) == (at(5), at(5) + TICK)
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

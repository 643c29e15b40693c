from datetime import UTC, datetime

import pytest

from streaming.product import OwedGap, OwedHistory, Product, ProductKey
from streaming.progress import ProgressRecord

pytestmark = pytest.mark.unit

KEY = ProductKey("coinbase", "spot", "BTC-USD")


def at(second: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, 20, 9, minute, second, tzinfo=UTC)


START = datetime(2026, 11, 20, 6, tzinfo=UTC)


def followed(last_trade_id: int | None = 7) -> Product:
    """A product whose progress an earlier start has published."""
    return Product(KEY, START, ProgressRecord("coinbase", "spot", "BTC-USD", START, at(0), last_trade_id))


def closed_through(product: Product) -> datetime | None:
    news = product.news()
    return news.closed_through if news else None


def test_a_new_product_owes_its_history_below_its_first_trade():
    product = Product(KEY, START)
    product.trade(100, at(1)).settle()
    history = product.next_work()

    assert isinstance(history, OwedHistory)
    assert (history.before_id, history.since) == (100, START)
    assert product.news() is None

    product.ended(history)

    assert product.news() == ProgressRecord("coinbase", "spot", "BTC-USD", START, at(1), 100)


def test_a_heartbeat_before_the_first_trade_tells_where_the_history_ends():
    product = Product(KEY, START)
    product.heartbeat(100, at(1))
    history = product.next_work()

    assert isinstance(history, OwedHistory)
    assert history.before_id == 101
    assert product.next_work() is None


def test_a_product_that_never_traded_is_closed_by_its_heartbeats():
    product = Product(KEY, START)
    product.heartbeat(0, at(1))
    product.ended(product.next_work())
    product.heartbeat(0, at(2))

    assert product.news() == ProgressRecord("coinbase", "spot", "BTC-USD", START, at(2), None)
    assert product.next_work() is None


def test_the_first_trade_of_a_quiet_product_owes_the_history_since_it_was_last_closed():
    product = followed(last_trade_id=None)
    product.trade(100, at(5))
    history = product.next_work()

    assert isinstance(history, OwedHistory)
    assert (history.before_id, history.since) == (100, at(0))


def test_after_a_restart_the_trades_since_the_published_one_are_missing():
    product = followed(last_trade_id=7)
    product.trade(10, at(5)).settle()
    owed = product.next_work()

    assert isinstance(owed, OwedGap)
    assert owed.gap.missing == [range(8, 10)]
    assert closed_through(product) is None

    product.ended(owed)

    assert closed_through(product) == at(5)


def test_what_came_before_a_gap_is_closed_while_the_gap_is_open():
    product = followed(last_trade_id=7)
    product.trade(8, at(1)).settle()
    product.trade(10, at(5)).settle()

    assert product.news().last_trade_id == 8


def test_a_trade_without_acknowledgement_is_not_closed_whatever_comes_after_it():
    product = followed(last_trade_id=7)
    product.trade(8, at(1))
    product.heartbeat(8, at(2))
    product.heartbeat(8, at(3))

    assert closed_through(product) is None


def test_a_trade_that_the_heartbeat_announced_is_waited_for_until_the_next_heartbeat():
    product = followed(last_trade_id=7)
    product.heartbeat(8, at(1))
    assert product.next_work() is None

    product.heartbeat(8, at(2))

    assert product.next_work().gap.missing == [range(8, 9)]


def test_an_announced_trade_that_comes_by_itself_holds_its_heartbeat_until_it_is_acknowledged():
    product = followed(last_trade_id=7)
    product.heartbeat(8, at(2))
    stretch = product.trade(8, at(1))
    product.ended(product.next_work())
    product.heartbeat(8, at(3))
    assert closed_through(product) is None

    stretch.settle()

    assert closed_through(product) == at(3)


def test_a_lost_connection_makes_announced_trades_due():
    product = followed(last_trade_id=7)
    product.heartbeat(8, at(1))
    product.connection_lost()

    assert product.next_work().gap.missing == [range(8, 9)]


def test_a_repeated_last_match_changes_nothing():
    product = followed(last_trade_id=7)
    product.trade(7, at(0)).settle()

    assert product.next_work() is None
    assert product.news() is None


def test_a_hole_in_the_history_holds_back_what_the_history_holds_back():
    product = Product(KEY, START)
    product.trade(100, at(1)).settle()
    history = product.next_work()
    product.owe_hole(range(40, 50), history, looks=1)
    product.ended(history)
    hole = product.next_work()

    assert product.news() is None
    assert hole.gap.missing == [range(40, 50)]

    product.ended(hole)

    assert closed_through(product) == at(1)


def test_a_new_trade_from_a_time_already_closed_is_counted():
    product = followed(last_trade_id=7)
    product.heartbeat(7, at(10))
    product.trade(8, at(9))
    product.trade(8, at(9))

    assert product.late_trades == 1


def test_there_is_news_until_it_is_published():
    product = followed(last_trade_id=7)
    product.heartbeat(7, at(1))
    record = product.news()
    assert product.news() == record

    product.published(record)

    assert product.news() is None

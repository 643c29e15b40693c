from datetime import UTC, datetime

import msgspec
import pytest

from streaming.progress import Progress, ProgressRecord

pytestmark = pytest.mark.unit


def at(second: float, minute: int = 0, hour: int = 9) -> datetime:
    return datetime(2026, 11, 20, hour, minute, int(second), round(second % 1 * 1e6), UTC)


START = at(0, hour=6)


def test_nothing_is_closed_before_the_first_message():
    progress = Progress(START)
    progress.advance()

    assert progress.closed_through is None


def test_a_product_is_closed_through_a_trade_when_the_broker_has_acknowledged_it():
    progress = Progress(START)
    stretch = progress.owe()
    progress.mark(at(1), 7)
    assert progress.closed_through is None

    stretch.settle()

    assert (progress.closed_through, progress.last_trade_id) == (at(1), 7)


def test_acknowledgements_out_of_order_close_nothing_early():
    progress = Progress(START)
    first = progress.owe()
    progress.mark(at(1), 7)
    second = progress.owe()
    progress.mark(at(2), 8)
    progress.seal()

    second.settle()
    assert progress.closed_through is None

    first.settle()
    assert (progress.closed_through, progress.last_trade_id) == (at(2), 8)


def test_an_old_debt_holds_back_everything_after_it():
    progress = Progress(START)
    history = progress.owe()
    progress.seal()
    progress.mark(at(1), 7)
    progress.seal()
    progress.mark(at(2), 8)
    progress.seal()
    assert progress.closed_through is None

    history.settle()

    assert progress.closed_through == at(2)


def test_a_new_debt_does_not_hold_back_what_was_sealed_before_it():
    progress = Progress(START)
    progress.mark(at(1), 7)
    progress.seal()
    progress.owe()
    progress.mark(at(2), 9)
    progress.advance()

    assert (progress.closed_through, progress.last_trade_id) == (at(1), 7)


def test_a_message_with_an_earlier_time_does_not_move_it_back():
    progress = Progress(START, closed_through=at(30), last_trade_id=7)
    progress.mark(at(10), 7)
    progress.seal()

    assert progress.closed_through == at(30)


def test_the_first_message_of_an_hour_closes_the_hour_before_without_waiting_for_later_trades():
    closed = []
    progress = Progress(START, closed_through=at(59, 59), hour_closed=lambda: closed.append(progress.closed_through))
    first = progress.owe()
    progress.mark(at(0.25, hour=10), 7)
    progress.owe()
    progress.mark(at(0.5, hour=10), 8)

    first.settle()

    assert closed == [at(0.25, hour=10)]


def test_within_an_hour_nobody_is_called():
    closed = []
    progress = Progress(START, closed_through=at(1), hour_closed=lambda: closed.append(1))
    progress.mark(at(58, 59), 7)
    progress.seal()

    assert closed == []


def test_the_record_has_times_of_one_width_and_is_read_back_as_it_was():
    record = ProgressRecord("coinbase", "spot", "BTC-USD", START, at(1.5), None)

    assert record.encode() == (
        b'{"venue":"coinbase","market":"spot","product_id":"BTC-USD","covered_from":"2026-11-20T06:00:00.000000Z",'
        b'"closed_through":"2026-11-20T09:00:01.500000Z","last_trade_id":null}'
    )
    assert msgspec.json.decode(record.encode(), type=ProgressRecord) == record

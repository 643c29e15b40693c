import pytest

from streaming.gaps import Gap, TradeIds

pytestmark = pytest.mark.unit


def test_ids_that_follow_each_other_reveal_nothing():
    ids = TradeIds(highest=7)

    assert ids.see(8) is None
    assert ids.see(9) is None
    assert (ids.highest, ids.gaps) == (9, [])


def test_the_first_id_ever_reveals_nothing():
    assert TradeIds().see(910941280) is None


def test_an_id_that_was_left_out_is_a_gap_that_is_due_at_once():
    gap = TradeIds(highest=7).see(10)

    assert gap is not None
    assert (gap.missing, gap.is_due) == ([range(8, 10)], True)


def test_a_repeated_trade_fills_nothing():
    ids = TradeIds(highest=7)

    assert ids.fill(7) is None
    assert ids.highest == 7


def test_a_trade_out_of_order_fills_its_gap():
    ids = TradeIds(highest=7)
    gap = ids.see(9)

    assert ids.fill(8) is gap
    assert gap.missing == []


def test_a_trade_that_a_heartbeat_spoke_of_may_still_be_on_its_way():
    ids = TradeIds(highest=7)
    gap = ids.announce(9)

    assert (gap.missing, gap.is_due) == ([range(8, 10)], False)
    assert ids.fill(8) is gap
    assert not gap.is_due
    assert ids.fill(9) is gap
    assert gap.missing == []


def test_a_heartbeat_that_speaks_of_a_trade_we_have_announces_nothing():
    assert TradeIds(highest=7).announce(7) is None


def test_announced_trades_are_due_when_a_later_one_comes_first():
    ids = TradeIds(highest=7)
    gap = ids.announce(9)
    ids.fill(9)

    assert (gap.missing, gap.is_due) == ([range(8, 9)], True)


def test_announced_trades_are_due_when_trades_beyond_them_come():
    ids = TradeIds(highest=7)
    gap = ids.announce(8)

    assert ids.see(9) is None
    assert gap.is_due


def test_announced_trades_are_due_when_nothing_more_is_to_be_expected():
    ids = TradeIds(highest=7)
    gap = ids.announce(8)
    ids.expect_no_more()

    assert gap.is_due


def test_a_gap_tells_which_of_its_ids_came_and_which_did_not():
    gap = Gap(range(10, 20), "", is_due=True)
    for trade_id in (10, 11, 14, 19):
        assert gap.fill(trade_id)
    assert not gap.fill(14)
    assert not gap.fill(20)

    assert gap.missing_count == 6
    assert list(gap.outcome()) == [
        (range(10, 12), True),
        (range(12, 14), False),
        (range(14, 15), True),
        (range(15, 19), False),
        (range(19, 20), True),
    ]

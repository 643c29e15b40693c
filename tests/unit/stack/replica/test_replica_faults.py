from __future__ import annotations

import json

import msgspec
import pytest

from stack.replica.faults import Faults
from stack.replica.frames import match
from stack.replica.plan import Plan
from stack.replica.recordings import SECOND, Trade
from tests.unit.stack.replica.market import FIVE, trade

pytestmark = pytest.mark.unit


def armed(*faults: dict, seed: int = 7) -> Faults:
    one = Faults()
    one.arm(msgspec.convert({"faults": faults, "seed": seed}, Plan), FIVE)
    return one


def sent(faults: Faults, *trade_ids: int, product: str = "BTC-USD") -> list[int]:
    deliveries = [faults.on_trade(trade(n, product=product), FIVE) for n in trade_ids]
    return [one.trade_id for delivery in deliveries for one in delivery.trades]


def recorded(faults: Faults) -> list[tuple]:
    return [(injection.kind, injection.product_id, injection.trade_ids) for injection in faults.injected]


def test_without_faults_every_trade_is_sent():
    faults = armed()

    assert sent(faults, 1, 2, 3) == [1, 2, 3]
    assert faults.injected == []


def test_skipped_trades_are_not_sent_and_are_named():
    faults = armed({"kind": "skip", "count": 2})

    assert sent(faults, 1, 2, 3) == [3]
    assert recorded(faults) == [("skip", "BTC-USD", (1,)), ("skip", "BTC-USD", (2,))]


def test_a_repeated_trade_is_sent_again():
    faults = armed({"kind": "repeat", "copies": 2, "times": 2})

    assert sent(faults, 1, 2, 3) == [1, 1, 1, 2, 2, 2, 3]
    assert recorded(faults) == [("repeat", "BTC-USD", (1,)), ("repeat", "BTC-USD", (2,))]


def test_a_group_out_of_order_is_sent_in_reverse():
    faults = armed({"kind": "reorder", "count": 3})

    assert sent(faults, 1, 2, 3, 4) == [3, 2, 1, 4]
    assert recorded(faults) == [("reorder", "BTC-USD", (3, 2, 1))]


def test_a_group_that_does_not_fill_is_not_held_for_ever():
    faults = armed({"kind": "reorder", "count": 3})

    assert sent(faults, 1, 2) == []
    assert faults.overdue(FIVE + SECOND - 1) == []
    assert [one.trade_id for one in faults.overdue(FIVE + SECOND)] == [2, 1]
    assert recorded(faults) == [("reorder", "BTC-USD", (2, 1))]


def test_a_late_trade_is_sent_when_it_is_as_old_as_asked_for():
    faults = armed({"kind": "late", "seconds": 300})

    assert sent(faults, 1, 2) == [2]
    assert faults.overdue(FIVE + 300 * SECOND - 1) == []
    assert [one.trade_id for one in faults.overdue(FIVE + 300 * SECOND)] == [1]
    assert faults.overdue(FIVE + 301 * SECOND) == []
    assert recorded(faults) == [("late", "BTC-USD", (1,))]


def test_a_stale_trade_comes_once_more_before_the_next_one():
    faults = armed({"kind": "stale", "seconds": 60, "times": 2})
    asked = []

    def earlier(product_id: str, at: int) -> Trade | None:
        asked.append((product_id, at))
        return trade(1) if len(asked) > 1 else None

    before_the_tape = faults.on_trade(trade(2, after=60 * SECOND), FIVE, earlier=earlier)
    there = faults.on_trade(trade(3, after=90 * SECOND), FIVE, earlier=earlier)

    assert [one.trade_id for one in before_the_tape.trades] == [2]
    assert [one.trade_id for one in there.trades] == [1, 3]
    assert asked == [("BTC-USD", FIVE), ("BTC-USD", FIVE + 30 * SECOND)]
    assert recorded(faults) == [("stale", "BTC-USD", (1,))]


def test_half_a_frame_is_sent_before_the_trade_or_instead_of_it():
    faults = armed({"kind": "broken"}, {"kind": "broken", "instead": True, "after": 1})

    before = faults.on_trade(trade(1), FIVE)
    instead = faults.on_trade(trade(2), FIVE + SECOND)

    assert [one.trade_id for one in before.trades] == [1]
    assert instead.trades == []
    for delivery, injection in zip((before, instead), faults.injected, strict=True):
        assert injection.frame == delivery.frames[0].decode()
        with pytest.raises(json.JSONDecodeError):
            json.loads(injection.frame)


def test_a_frame_of_an_unknown_type_comes_beside_the_trade():
    faults = armed({"kind": "unknown"})

    delivery = faults.on_trade(trade(1), FIVE)

    assert json.loads(delivery.frames[0])["type"] == "unheard_of"
    assert len(delivery.trades) == 1


def test_a_frame_with_a_new_field_takes_the_place_of_the_trades_own():
    faults = armed({"kind": "new_field", "field": "liquidity"})

    delivery = faults.on_trade(trade(1), FIVE)

    [frame] = delivery.frames
    assert json.loads(frame) == json.loads(match(trade(1))) | {"liquidity": "maker"}
    assert delivery.trades == []
    assert (recorded(faults), faults.injected[0].frame) == ([("new_field", "BTC-USD", (1,))], frame.decode())


@pytest.mark.parametrize(
    ("field", "there"), [("price", b'"price":100,'), ("trade_id", b'"trade_id":"1",'), ("side", b'"side":null,')]
)
def test_a_frame_with_a_field_of_another_type_takes_the_place_of_the_trades_own(field, there):
    faults = armed({"kind": "changed_type", "field": field})

    delivery = faults.on_trade(trade(1), FIVE)

    [frame] = delivery.frames
    assert there in frame
    assert json.loads(frame) | {field: None} == json.loads(match(trade(1))) | {field: None}
    assert delivery.trades == []
    assert (recorded(faults), faults.injected[0].frame) == ([("changed_type", "BTC-USD", (1,))], frame.decode())


def test_connections_are_dropped_or_stalled_at_a_trade():
    assert armed({"kind": "drop"}).on_trade(trade(1), FIVE).drop
    assert armed({"kind": "stall", "seconds": 5}).on_trade(trade(1), FIVE).stall == 5


def test_a_fault_of_one_product_leaves_the_others_alone():
    faults = armed({"kind": "skip", "product": "ETH-USD"})

    assert sent(faults, 1) == [1]
    assert sent(faults, 1, product="ETH-USD") == []


def test_a_fault_waits_until_its_time():
    faults = armed({"kind": "skip", "after": 2})

    assert faults.on_trade(trade(1), FIVE + 2 * SECOND - 1).trades
    assert not faults.on_trade(trade(2), FIVE + 2 * SECOND).trades


def test_the_same_seed_gives_the_same_faults():
    plan = {"kind": "skip", "chance": 0.3, "times": None}
    many = range(1000)

    assert sent(armed(plan), *many) == sent(armed(plan), *many)
    assert sent(armed(plan), *many) != sent(armed(plan, seed=8), *many)
    assert 600 < len(sent(armed(plan), *many)) < 800


def test_requests_are_refused_delayed_and_failed():
    faults = armed(
        {"kind": "too_many_requests", "count": 2},
        {"kind": "failure", "status": 503, "product": "ETH-USD"},
        {"kind": "delay", "seconds": 0.5},
    )

    treated = [faults.on_request("/trades", product, FIVE) for product in ("BTC-USD", "BTC-USD", "BTC-USD", "ETH-USD")]

    assert [(one.delay, one.status) for one in treated] == [(0.5, 429), (0.5, 429), (0.5, None), (0.5, 503)]
    assert [i.status for i in faults.injected if i.kind != "delay"] == [429, 429, 503]


def test_the_report_tells_what_is_armed_and_what_happened():
    faults = armed({"kind": "skip"}, {"kind": "repeat", "times": 2})
    sent(faults, 1)

    report = json.loads(msgspec.json.encode(faults.report()))

    assert report["seed"] == 7
    assert [fault["kind"] for fault in report["armed"]] == ["repeat"]
    assert report["injected"][0] == {
        "kind": "skip", "at": "2025-11-25T05:00:00.000000Z", "product_id": "BTC-USD", "trade_ids": [1],
    }  # fmt: skip


def test_disarmed_it_behaves_and_remembers():
    faults = armed({"kind": "skip", "times": None})
    sent(faults, 1)

    faults.disarm()

    assert sent(faults, 2) == [2]
    assert recorded(faults) == [("skip", "BTC-USD", (1,))]


@pytest.mark.parametrize(
    "plan", ['{"faults":[{"kind":"sulk"}]}', '{"faults":[{"kind":"skip","chance":2}]}', '{"fault":[]}']
)
def test_a_plan_that_makes_no_sense_is_refused(plan):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(plan, type=Plan)

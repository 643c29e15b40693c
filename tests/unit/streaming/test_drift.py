import msgspec
import pytest

from streaming.drift import EVERY, MOST_NEW_FIELDS, RETOLD_AFTER, Difference, Drift, difference_of
from streaming.metrics import Metrics
from streaming.publish import publish_drift_once

pytestmark = pytest.mark.unit

KNOWN = {"match": frozenset({"type", "price"}), "ticker": frozenset({"type"})}
NEW = Difference("new_field", "match", "liquidity", None, "string")
PRICE = "match: Expected `str`, got `float` - at `$.price`"
CHANGED = Difference("changed_type", "match", "price", "str", "number")


def drifted(*messages: bytes, told=()) -> Drift:
    """Look at messages as a feed does: those that are longer than all before."""
    drift = Drift(KNOWN, told)
    for message in messages:
        if len(message) > drift.longest["match"]:
            drift.look("match", message, "spot")
    return drift


def test_a_field_that_nobody_knows_is_noted_once():
    drift = drifted(b'{"type":"match","liquidity":"a"}', b'{"type":"match","liquidity":"longer"}')

    assert drift.counts == {NEW: 1}


def test_a_message_that_is_broken_where_nobody_reads_it_stops_nothing():
    assert drifted(b'{"type":"match","\xff":1}', b'{"type":"match","x":1,"liquidity":"\xff').counts == {}


def test_fields_that_are_known_or_were_told_before_are_no_news():
    drift = drifted(b'{"type":"match","price":"1","liquidity":"a"}', told=[("match", "liquidity"), ("gone", "x")])

    assert drift.counts == {}


def test_a_message_is_looked_at_if_it_is_longer_than_those_before_and_all_are_again_after_a_second():
    drift = drifted(b'{"type":"match","price":"1"}')
    drift.now_is(1)
    assert drift.longest == {"match": 0, "ticker": 0}

    drift.look("match", b'{"type":"match"}', "spot")
    drift.now_is(EVERY)
    assert drift.longest == {"match": 16, "ticker": 0}
    drift.now_is(EVERY + 1)
    assert drift.longest == {"match": 0, "ticker": 0}


def test_a_type_whose_fields_are_data_is_given_up():
    many = msgspec.json.encode({f"field_{number}": number for number in range(MOST_NEW_FIELDS + 5)})
    drift = drifted(many)
    drift.now_is(EVERY * 2)

    assert len(drift.counts) == MOST_NEW_FIELDS
    assert drift.longest["match"] > 2**60
    assert drift.longest["ticker"] == 0


@pytest.mark.parametrize(
    ("reason", "difference"),
    [
        (PRICE, CHANGED),
        (
            "trade of a frame: Expected `int`, got `str` - at `$.T`",
            Difference("changed_type", "trade of a frame", "T", "int", "str"),
        ),
        (
            "publicTrade: Expected `array`, got `object` - at `$.data`",
            Difference("changed_type", "publicTrade", "data", "array", "object"),
        ),
        (
            "subscriptions: Expected `str`, got `int` - at `$.channels[3].name`",
            Difference("changed_type", "subscriptions", "channels[].name", "str", "number"),
        ),
        (
            "match: Object missing required field `time`",
            Difference("changed_type", "match", "time", "a value", "none"),
        ),
        ("match: Expected `int` >= 1 - at `$.trade_id`", None),
        ("Input data was truncated", None),
        ("BTC-USD was not subscribed to", None),
    ],
)
def test_a_dead_letters_reason_says_which_field_has_another_type(reason, difference):
    assert difference_of(reason) == difference


def test_what_has_changed_is_told_with_its_frames_and_again_after_a_while_if_there_were_more():
    drift = Drift(KNOWN)
    drift.refused(PRICE, "spot")
    drift.refused(PRICE, "spot")
    told = [[(news.difference, news.frames) for news in drift.news(now)] for now in (0, 1)]
    drift.refused(PRICE, "spot")
    told += [[(news.difference, news.frames) for news in drift.news(now)] for now in (2, RETOLD_AFTER, RETOLD_AFTER)]

    assert told == [[(CHANGED, 2)], [], [], [(CHANGED, 1)], []]


async def test_drift_is_an_event_and_a_metric(kafka):
    drift, metrics = drifted(b'{"liquidity":"a"}'), Metrics("coinbase")
    metrics.watch_drift(drift)
    drift.refused(PRICE, "spot")

    await publish_drift_once(drift, "coinbase", kafka)
    await publish_drift_once(drift, "coinbase", kafka)

    facts = ("kind", "venue", "market", "message_type", "field", "expected", "got", "count", "reason")
    assert [tuple(event[fact] for fact in facts) for event in kafka.events()] == [
        (*("new_field", "coinbase", "spot", "match", "liquidity", None, "string", 1), NEW.reason),
        (*("changed_type", "coinbase", "spot", "match", "price", "str", "number", 1), CHANGED.reason),
    ]
    samples = {(s.name, *s.labels.values()): s.value for family in metrics.collect() for s in family.samples}
    assert samples["ingestion_new_fields_total", "coinbase", "match", "liquidity"] == 1
    assert samples["ingestion_changed_frames_total", "coinbase", "match", "price"] == 1


NESTED = {"status": frozenset({"type", "products", "products[].id", "products[].links", "products[].details.*"})}


def looked_at(*messages: dict, known=NESTED, told=()) -> list[tuple]:
    """What is noted of messages of the exchange's list, in order: the kind, the field, and its types."""
    drift = Drift(known, told)
    for message in messages:
        drift.look("status", msgspec.json.encode(message), "spot")
    return [(one.kind, one.field, one.expected, one.got) for one in drift.counts]


def test_a_new_field_in_the_objects_of_an_array_is_noted_once_with_the_way_to_it():
    products = [{"id": "A"}, {"id": "B", "mood": "good"}, {"id": "C", "mood": "bad"}]

    assert looked_at({"products": products}, {"products": products}) == [
        ("new_field", "products[].mood", None, "string")
    ]


def test_a_new_object_is_noted_as_one_however_much_is_in_it():
    message = {"products": [{"id": "A", "links": [{"to": 1}], "auction": {"opens": 1, "rule": {"a": [{"b": 2}]}}}]}

    assert looked_at(message, message) == [
        ("new_field", "products[].links[].to", None, "number"),
        ("new_field", "products[].auction", None, "object"),
    ]


def test_within_an_object_whose_names_are_data_nothing_is_new():
    assert looked_at({"products": [{"id": "A", "details": {"x": 1}}]}, known=NESTED | {
        "status": NESTED["status"] | {"products[].details"}
    }) == []  # fmt: skip


def test_what_was_told_of_nested_fields_before_is_no_news():
    message = {"products": [{"mood": {"of": "today"}}]}

    assert looked_at(message, told=[("status", "products[].mood")]) == []


def test_a_field_that_nobody_needs_and_that_has_another_type_is_noted_once_and_null_is_any_type():
    given = [None, "1", None, 1, "1", 1.5]

    assert looked_at(*({"products": [{"id": value}]} for value in given)) == [
        ("retyped_field", "products[].id", "string", "number")
    ]
    assert looked_at(*({"products": [], "type": value} for value in ("a", {}))) == [
        ("retyped_field", "type", "string", "object")
    ]


def test_a_nested_part_that_is_broken_where_nobody_reads_it_stops_nothing():
    drift = Drift(NESTED)

    drift.look("status", b'{"products":[{"id":"\xff","mood":1}],"new":1}', "spot")

    assert [one.field for one in drift.counts] == ["new"]


async def test_a_field_of_another_type_whose_frame_is_kept_is_told_as_such(kafka):
    drift, metrics = Drift(NESTED), Metrics("coinbase")
    metrics.watch_drift(drift)
    for value in (b'{"type":"1"}', b'{"type":1}'):
        drift.look("status", value, "spot")

    await publish_drift_once(drift, "coinbase", kafka)

    [event] = kafka.events()
    assert (event["kind"], event["field"], event["count"]) == ("retyped_field", "type", 1)
    assert event["reason"] == "status has number in place of string in type; it is kept as received"
    samples = {(s.name, *s.labels.values()): s.value for family in metrics.collect() for s in family.samples}
    assert samples["ingestion_retyped_fields_total", "coinbase", "status", "type"] == 1


def test_objects_that_changed_are_looked_into_again():
    drift, same, other = Drift(NESTED), b'{"products":[{"x":1}]}', b'{"products":[{"y":1}]}'
    for message in (same, same, other, same):
        drift.look("status", message, "spot")

    assert [one.field for one in drift.counts] == ["products[].x", "products[].y"]

import pytest

from stack.service import Part, Service, Step, needed_for, start_order, stop_order

pytestmark = pytest.mark.unit


def service(name: str, *after: str) -> Service:
    return Service(name, "", ("true",), lambda: True, after=after)


def step(name: str, *after: str) -> Step:
    return Step(name, "", lambda: None, lambda: "", after=after)


LAKE: list[Part] = [
    service("kafka"),
    service("s3"),
    step("topics", "kafka"),
    step("bucket", "s3"),
    service("thrift", "bucket"),
    service("writer", "topics", "thrift"),
]


def test_a_part_comes_after_all_that_it_needs():
    order = list(start_order(LAKE).static_order())

    assert all(order.index(before) < order.index(part.name) for part in LAKE for before in part.after)


def test_what_nothing_depends_on_stops_first_and_side_by_side():
    assert [sorted(level) for level in stop_order(LAKE)] == [
        ["writer"],
        ["thrift"],
        ["bucket", "topics"],
        ["kafka", "s3"],
    ]


def test_a_service_is_wanted_with_all_that_it_needs_and_nothing_else():
    assert [part.name for part in needed_for(["thrift"], LAKE)] == ["s3", "bucket", "thrift"]


def test_a_part_that_is_not_wanted_holds_nobody_up():
    assert list(start_order([service("writer", "topics", "thrift")]).static_order()) == ["writer"]


def test_an_unknown_service_is_named_with_those_that_there_are():
    with pytest.raises(KeyError, match="no service kafak; there are bucket, kafka, s3, thrift, topics, writer"):
        needed_for(["kafak"], LAKE)

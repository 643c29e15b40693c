import pytest

from streaming.coingecko.written import REMEMBERED, Written
from streaming.records import Record

pytestmark = pytest.mark.unit


def record(value: bytes, key: str = "bitcoin", topic: str = "prices") -> Record:
    return Record(topic, key, value, [])


def test_the_same_bytes_are_new_once():
    written = Written({})

    assert [written.is_new(record(value)) for value in (b"1", b"1", b"2", b"1")] == [True, False, True, False]


def test_coins_and_topics_are_known_each_for_itself():
    written = Written({})

    assert all(written.is_new(record(b"{}", key, topic)) for key in "ab" for topic in "xy")


def test_what_came_long_ago_is_new_again():
    written = Written({})
    numbers = [b"%d" % number for number in range(REMEMBERED + 1)]

    assert all(written.is_new(record(value)) for value in numbers)
    assert written.is_new(record(numbers[0]))
    assert not written.is_new(record(numbers[-1]))


def test_only_what_the_broker_acknowledged_is_known_to_the_next_process():
    written, lost, there = Written({}), record(b"1"), record(b"2")
    assert written.is_new(lost)
    assert written.is_new(there)
    there.acknowledged()

    later = Written(written.acknowledged)

    assert later.is_new(record(b"1"))
    assert not later.is_new(record(b"2"))

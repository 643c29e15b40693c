import pytest

from streaming.backoff import Backoff, retry_after

pytestmark = pytest.mark.unit


def test_pauses_double_up_to_the_longest():
    pauses = Backoff(0.5, 3.0, chance=lambda: 1.0)

    assert [pauses.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_pause_is_any_part_of_its_ceiling():
    chances = iter([0.0, 0.25])
    pauses = Backoff(1.0, 8.0, chance=lambda: next(chances))

    assert [pauses.next(), pauses.next()] == [0.0, 0.5]


def test_after_a_success_it_begins_again():
    pauses = Backoff(0.5, 30.0, chance=lambda: 1.0)
    pauses.next()
    pauses.next()
    pauses.reset()

    assert pauses.next() == 0.5


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("3", 3),
        ("-1", 0),
        ("100000", 300),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 7),
        ("soon", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(header, seconds):
    assert retry_after(header, now=784111770.0) == seconds

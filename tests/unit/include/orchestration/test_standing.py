"""When is an hour closed, as the producers say?"""

import json
from datetime import UTC, datetime, timedelta

import pytest

from include.orchestration.evidence import (
    HourNotCoveredError,
    Progress,
    Standing,
    as_text,
    covered_from,
    of_hour,
    of_text,
    standing,
)
from include.orchestration.hours import Hour

pytestmark = pytest.mark.unit

HOUR = Hour(datetime(2026, 11, 20, 9, tzinfo=UTC))
LIMIT = timedelta(minutes=10)
BTC, DOGE = "coinbase/spot/BTC-USD", "coinbase/spot/DOGE-USD"


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, 20, hour, minute, tzinfo=UTC)


SIX = at(6)


def through(closed_through: datetime, *, covered_from: datetime = SIX) -> Progress:
    return Progress(covered_from, closed_through)


def test_an_hour_is_closed_when_every_product_is_closed_through_its_end():
    progress = {BTC: through(at(10)), DOGE: through(at(10, 1))}

    assert standing(progress, [BTC, DOGE], HOUR, LIMIT) == Standing()


def test_an_hour_waits_for_a_product_that_is_behind():
    progress = {BTC: through(at(10, 5)), DOGE: through(at(9, 59))}

    assert standing(progress, [BTC, DOGE], HOUR, LIMIT) == Standing(waiting=(DOGE,))


def test_an_hour_waits_for_a_product_that_was_never_heard_of():
    assert standing({BTC: through(at(10))}, [BTC, DOGE], HOUR, LIMIT) == Standing(waiting=(DOGE,))


def test_a_product_is_given_up_once_the_others_are_past_the_limit():
    progress = {BTC: through(at(10, 10)), DOGE: through(at(9, 30))}

    assert standing(progress, [BTC, DOGE], HOUR, LIMIT) == Standing(silent=(DOGE,))


def test_nobody_is_given_up_while_nobody_speaks():
    progress = {BTC: through(at(9, 30)), DOGE: through(at(9, 30))}

    assert standing(progress, [BTC, DOGE], HOUR, LIMIT) == Standing(waiting=(BTC, DOGE))


def test_a_product_that_was_followed_later_does_not_hold_the_hour_up():
    progress = {BTC: through(at(12)), DOGE: through(at(12), covered_from=at(11))}

    assert standing(progress, [BTC, DOGE], HOUR, LIMIT) == Standing(uncovered=(DOGE,))


def test_an_hour_waits_for_what_was_followed_from_within_it_though_that_does_not_vouch_for_it():
    progress = {BTC: through(at(10)), DOGE: through(at(9, 59), covered_from=at(9, 30))}

    assert standing(progress, [BTC, DOGE], HOUR, LIMIT) == Standing(waiting=(DOGE,), uncovered=(DOGE,))


def test_an_hour_before_all_products_is_refused_with_the_first_time_that_is_covered():
    progress = {BTC: through(at(12), covered_from=at(10)), DOGE: through(at(12), covered_from=at(11))}

    with pytest.raises(HourNotCoveredError, match=r"followed from 2026-11-20T10:00Z on; fetch the history"):
        standing(progress, [BTC, DOGE], HOUR, LIMIT)


def test_a_product_that_is_no_longer_asked_for_is_not_waited_for():
    progress = {BTC: through(at(10)), DOGE: through(at(7))}

    assert standing(progress, [BTC], HOUR, LIMIT) == Standing()


PAST = f"{BTC}/past"


def test_an_hour_from_before_a_producers_start_is_closed_by_history_that_was_fetched_later():
    said = {
        BTC: through(at(15), covered_from=at(10)),
        DOGE: through(at(15), covered_from=at(10)),
        PAST: through(at(10, 3)),
        f"{DOGE}/past": through(at(10), covered_from=at(8)),
    }

    assert standing(of_hour(said, HOUR), [BTC, DOGE], HOUR, LIMIT) == Standing()


def test_an_hour_goes_on_without_a_product_whose_history_was_not_fetched():
    said = {
        BTC: through(at(15), covered_from=at(10)),
        DOGE: through(at(15), covered_from=at(10)),
        PAST: through(at(10)),
    }

    assert standing(of_hour(said, HOUR), [BTC, DOGE], HOUR, LIMIT) == Standing(uncovered=(DOGE,))


def test_an_hour_from_before_history_that_was_fetched_is_refused_with_where_that_begins():
    said = {BTC: through(at(15), covered_from=at(12)), PAST: through(at(12), covered_from=at(10))}

    with pytest.raises(HourNotCoveredError, match=r"followed from 2026-11-20T10:00Z on; fetch the history"):
        standing(of_hour(said, HOUR), [BTC], HOUR, LIMIT)


def test_an_hour_that_history_does_not_reach_the_end_of_is_the_producers():
    said = {BTC: through(at(9, 30)), PAST: through(at(9, 59), covered_from=at(3))}

    assert standing(of_hour(said, HOUR), [BTC], HOUR, LIMIT) == Standing(waiting=(BTC,))


def test_a_product_is_covered_from_where_its_history_begins_if_that_reaches_its_producers_start():
    live = through(at(15), covered_from=at(10))

    assert covered_from({BTC: live}) == {BTC: at(10)}
    assert covered_from({BTC: live, PAST: through(at(10))}) == {BTC: SIX}
    assert covered_from({BTC: live, PAST: through(at(9))}) == {BTC: at(10)}


def test_offsets_are_the_same_after_their_way_through_json():
    offsets = {"coinbase.raw.trades": {0: 7, 3: 0}, "ingestion.events": {0: 1}}

    assert of_text(json.loads(json.dumps(as_text(offsets)))) == offsets

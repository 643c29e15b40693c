import json
from datetime import UTC, datetime, timedelta

import pytest

from include.orchestration.fetching import backfill, fetcher, hours_before, in_words
from include.orchestration.hours import Hour

pytestmark = pytest.mark.unit

SIX = datetime(2026, 11, 20, 6, tzinfo=UTC)
NINE = SIX + timedelta(hours=3)


def keys(form: dict[str, object], *covered: datetime) -> tuple[str, str]:
    since, until = hours_before({"hours": None, "first_hour": None} | form, covered)
    return since.key, until.key


def test_hours_count_from_the_first_that_any_product_has_to_the_first_that_all_have():
    assert keys({"hours": 4}, SIX, NINE) == ("2026-11-20T02", "2026-11-20T09")


@pytest.mark.parametrize("text", ["2026-11-19T23:00:00Z", "2026-11-19T23:00:00", "2026-11-20T01:00:00+02:00"])
def test_a_first_hour_is_taken_as_it_is(text: str):
    assert keys({"first_hour": text}, SIX) == ("2026-11-19T23", "2026-11-20T06")


@pytest.mark.parametrize("form", [{}, {"first_hour": ""}, {"hours": 2, "first_hour": "2026-11-20T01:00:00Z"}])
def test_a_form_that_says_nothing_or_both_is_refused(form: dict[str, object]):
    with pytest.raises(ValueError, match="say how many hours, or which is the first, and not both"):
        keys(form, SIX)


def test_a_time_within_an_hour_is_refused():
    with pytest.raises(ValueError, match="2026-11-20T01:30:00Z is not the start of an hour"):
        keys({"first_hour": "2026-11-20T01:30:00Z"}, SIX)


def test_nothing_lies_before_what_nobody_follows():
    with pytest.raises(ValueError, match="no product is followed yet"):
        keys({"hours": 1})


def test_history_is_fetched_for_venues_that_give_it():
    assert fetcher("all") == fetcher("producer-coinbase") == ("coinbase", "streaming.coinbase.past")
    with pytest.raises(ValueError, match="nothing fetches history for producer-bybit; choose producer-coinbase"):
        fetcher("producer-bybit")


def test_the_command_builds_the_hours_from_the_first_to_the_last():
    first, last = Hour(SIX).key, Hour(NINE).key

    assert backfill(first, last) == (
        "python -m stack run airflow backfill create --dag-id trades_hourly"
        " --from-date 2026-11-20T06:00:00Z --to-date 2026-11-20T09:00:00Z --reprocess-behavior completed"
    )


def test_how_far_a_fetch_is_comes_in_words_and_what_else_it_says_as_it_is():
    goes_on = {
        "message": "history goes on",
        "product": "coinbase/spot/BTC-USD",
        "percent": 42,
        "trades": 12000,
        "reached": "2026-11-20 04:10:00+00:00",
        "seconds_left": 95,
    }
    lines = [json.dumps(goes_on), json.dumps(goes_on | {"seconds_left": None}), '{"message": "stopped"}\n', "Killed\n"]

    words = "coinbase/spot/BTC-USD: 42 %, 12,000 trades, back to 2026-11-20 04:10:00+00:00"
    assert list(in_words(iter(lines))) == [f"{words}, 0:01:35 left", words, '{"message": "stopped"}', "Killed"]

from datetime import UTC, datetime

import pytest

from include.orchestration.hours import Hour

pytestmark = pytest.mark.unit


def test_an_hour_is_read_from_its_key_and_gives_it_back():
    hour = Hour.of_key("2026-11-20T23")

    assert hour.start == datetime(2026, 11, 20, 23, tzinfo=UTC)
    assert hour.end == datetime(2026, 11, 21, tzinfo=UTC)
    assert hour.key == "2026-11-20T23"


@pytest.mark.parametrize("key", [None, ""])
def test_a_run_without_a_key_is_told_how_to_get_one(key: str | None):
    with pytest.raises(ValueError, match=r"no partition key.*Backfill dialog"):
        Hour.of_key(key)


@pytest.mark.parametrize("key", ["2026-11-20", "2026-11-20T24", "2026-11-20T09:00", "yesterday"])
def test_a_key_that_is_not_an_hour_is_refused(key: str):
    with pytest.raises(ValueError, match="is not an hour"):
        Hour.of_key(key)

from datetime import UTC, datetime, timedelta

import pytest

from include.orchestration.hours import Hour
from include.orchestration.nessie import Commit
from include.orchestration.turn import branch_name
from stack.metrics.publications import Publications

pytestmark = pytest.mark.unit

NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def merged(start: datetime, at: datetime) -> Commit:
    branch = branch_name(Hour(start), dag_id="trades_hourly", run_id="r", attempt_id="a", try_number=1)
    return Commit("f00d", "cafe", at, {"branch": branch})


def appended(at: datetime) -> Commit:
    return Commit("f00d", "cafe", at, {"app-id": "local-1"})


def told(publications: Publications) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in publications.tell()
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


@pytest.fixture
def publications():
    return Publications("http://127.0.0.1:1/api/v2", "main")


def test_the_delay_is_from_the_end_of_the_hour_to_the_merge(publications):
    ten = NINE + 60 * MINUTE

    publications.take([merged(NINE, at=ten + 5 * MINUTE), appended(ten + 6 * MINUTE)], is_counted=True)

    assert told(publications) == {
        "gold_published_through_seconds": ten.timestamp(),
        "gold_newest_publish_seconds": 300,
        "gold_publish_seconds_count": 1,
        "gold_publish_seconds_sum": 300,
    }


def test_an_hour_that_is_built_again_is_not_counted(publications):
    publications.take([merged(NINE, at=NINE + 65 * MINUTE), merged(NINE, at=NINE + 300 * MINUTE)], is_counted=True)

    assert told(publications)["gold_publish_seconds_count"] == 1
    assert told(publications)["gold_newest_publish_seconds"] == 300


def test_what_was_published_before_the_service_began_sets_the_clock_and_is_not_counted(publications):
    publications.take([merged(NINE, at=NINE + 65 * MINUTE)], is_counted=False)

    assert told(publications)["gold_published_through_seconds"] == (NINE + 60 * MINUTE).timestamp()
    assert told(publications)["gold_publish_seconds_count"] == 0

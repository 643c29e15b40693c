"""The web layer over Airflow's tables in memory, with a user whom Airflow would let in."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from include.hours_page import app as hours_app
from include.orchestration.announcing import TABLES as ANNOUNCED
from include.orchestration.hours import Hour
from tests.drivers.airflow_records import KEY, Records

pytestmark = pytest.mark.unit

TABLES = [table.full_name for table in ANNOUNCED]
NEWEST = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)


@pytest.fixture
def client(session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[TestClient]:
    monkeypatch.setenv("LAKE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("LAKE_FIRST_HOUR", (NEWEST - timedelta(hours=2)).isoformat())
    # The hour may turn between the collection of the tests and this one.
    monkeypatch.setattr(hours_app, "_newest_over", lambda now: Hour(NEWEST))
    made = hours_app.make_app()
    made.dependency_overrides[hours_app.session] = lambda: session
    for needed in hours_app.may_read:
        made.dependency_overrides[needed.dependency] = lambda: None
    with TestClient(made) as opened:
        yield opened


def test_a_lake_that_has_just_begun_shows_its_hours_as_missing(client: TestClient):
    told = client.get("/api/grid").json()

    assert told["hours"] == [(NEWEST - timedelta(hours=back)).strftime(KEY) for back in (2, 1, 0)]
    assert [table["name"] for table in told["tables"]] == TABLES
    assert {table["hours"] for table in told["tables"]} == {"mmm"}
    assert told["queue"] == {"requests": [], "backfills": []}


def test_an_hour_from_before_the_first_start_is_shown_once_it_is_published(client: TestClient, records: Records):
    earlier = (NEWEST - timedelta(hours=3)).strftime(KEY)
    records.announce("gold.ohlcv_1m", earlier, "backfill", minutes_gap=1)

    told = client.get("/api/grid").json()

    assert (told["hours"][0], told["first"]) == (earlier, earlier)
    assert {table["name"]: table["hours"] for table in told["tables"]}["gold.ohlcv_1m"] == "immm"


def test_a_span_ends_where_it_is_asked_to_and_not_in_the_future(client: TestClient):
    last = (NEWEST - timedelta(hours=1)).strftime(KEY)

    assert client.get("/api/grid", params={"hours": 1, "until": last}).json()["hours"] == [last]
    assert client.get("/api/grid", params={"hours": 1, "until": "2999-01-01T00"}).json()["hours"] == [
        NEWEST.strftime(KEY)
    ]
    assert client.get("/api/grid", params={"until": "2001-01-01T00"}).json()["hours"] == []


@pytest.mark.parametrize("path", ["/api/grid?until=yesterday", "/api/hours/9", "/api/grid?hours=0"])
def test_what_is_no_hour_is_refused(client: TestClient, path: str):
    assert client.get(path).status_code == 422


def test_verdicts_of_a_run_that_airflow_has_forgotten_are_not_looked_for(client: TestClient):
    answer = client.get("/api/verdicts", params={"run_id": "scheduled__gone"})

    assert (answer.status_code, answer.json()["detail"]) == (404, "Airflow has no run scheduled__gone any more")


@pytest.mark.parametrize("path", ["/", "/hours.css", "/hours.js", "/api/grid"])
def test_a_browser_is_told_to_ask_nobody_else_and_to_let_nobody_else_hold_the_page(client: TestClient, path: str):
    answer = client.get(path)

    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]


def test_nobody_reads_without_airflows_leave():
    client = TestClient(hours_app.make_app())

    for path in ("/api/grid", "/api/hours/2026-11-20T09", "/api/verdicts?run_id=any"):
        assert client.get(path).status_code == 401

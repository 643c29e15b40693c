import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.settings import Endpoint, Settings
from stack import doctor, first_start, kafka_view
from stack.kafka_view import Lag, Progress
from stack.service import Service
from stack.status import ServiceStatus
from streaming.coingecko import kept
from streaming.coingecko.budget import Spent
from streaming.coingecko.kept import Kept

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def status(state: str) -> ServiceStatus:
    service = Service("kafka", "", ("true",), lambda: True, ports=(Endpoint(port=9092),))
    return ServiceStatus(service, state, None, None)


def flow(monkeypatch: pytest.MonkeyPatch, *, behind: int | None = 0, silent_for: timedelta = timedelta(0)):
    progress = Progress(("coinbase", "spot", "BTC-USD"), NOW - timedelta(hours=3), NOW - silent_for)
    monkeypatch.setattr(kafka_view, "lags", lambda _: [Lag("coinbase.raw.trades", "bronze.trades", 99, behind)])
    monkeypatch.setattr(kafka_view, "progress", lambda _: [progress])
    found = doctor.flow(Settings(products=("BTC-USD",)), NOW)
    return {finding.what: finding for finding in found}


def test_a_service_that_works_needs_no_advice():
    assert doctor.health(status("ready"), Path("logs")) == doctor.Finding("kafka", "ready")


@pytest.mark.parametrize("state", ["stopped", "crashing", "failed", "not ready"])
def test_a_service_that_does_not_work_is_a_fault_with_advice(state: str):
    finding = doctor.health(status(state), Path("logs"))

    assert finding.is_fault
    assert "make up" in finding.advice


def test_a_flow_that_keeps_up_is_well(monkeypatch: pytest.MonkeyPatch):
    assert not any(finding.is_fault for finding in flow(monkeypatch).values())


def test_a_reader_far_behind_is_a_fault(monkeypatch: pytest.MonkeyPatch):
    assert flow(monkeypatch, behind=doctor.TOLERATED_LAG + 1)["bronze.trades"].is_fault


def test_a_product_that_was_closed_too_long_ago_is_a_fault(monkeypatch: pytest.MonkeyPatch):
    finding = flow(monkeypatch, silent_for=timedelta(hours=1))["coinbase/spot/BTC-USD"]

    assert finding.is_fault
    assert "2026-11-20 11:00:00 UTC" in finding.found


def test_a_product_without_any_progress_is_a_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kafka_view, "lags", lambda _: [])
    monkeypatch.setattr(kafka_view, "progress", lambda _: [])

    settings = Settings(products=("X-USD",), follow_bybit=True, bybit_linear=(), bybit_spot=("XUSDT",))
    faults = [finding for finding in doctor.flow(settings, NOW) if finding.is_fault]

    assert [(fault.what, fault.advice) for fault in faults] == [
        ("bybit/spot/XUSDT", "See the log of producer-bybit."),
        ("coinbase/spot/X-USD", "See the log of producer-coinbase."),
    ]


@pytest.mark.parametrize(("spent", "left", "is_fault"), [(0, "10", False), (9, "1", False), (10, "0", True)])
def test_a_month_whose_requests_are_spent_is_a_fault(tmp_path: Path, spent: int, left: str, is_fault: bool):
    settings = Settings(state_dir=tmp_path, coingecko_requests_per_month=10)
    kept.save(kept.file_of(settings), Kept(Spent(NOW.replace(day=1, hour=0), spent, NOW)))

    finding = doctor.requests(settings, NOW)

    assert (finding.found, finding.is_fault) == (f"{left} of 10 requests left this month", is_fault)
    assert is_fault == ("LAKE_COINGECKO_REQUESTS_PER_MONTH" in finding.advice)


def test_a_month_without_a_request_yet_has_all_of_them(tmp_path: Path):
    assert doctor.requests(Settings(state_dir=tmp_path), NOW).found == "10,000 of 10,000 requests left this month"


def test_secrets_that_others_can_read_are_a_fault(tmp_path: Path):
    first_start.ensure_secrets(tmp_path, {})
    assert not doctor.secrets(tmp_path).is_fault

    (tmp_path / "secrets.env").chmod(0o640)
    assert "chmod 600" in doctor.secrets(tmp_path).advice


def test_alerts_are_counted_for_a_day_and_the_last_is_shown(tmp_path: Path):
    path = tmp_path / "alerts.ndjson"
    alerts = [(48, "long ago"), (2, "first"), (1, "second\nwith rows")]
    path.write_text(
        "".join(json.dumps({"at": (NOW - timedelta(hours=h)).isoformat(), "summary": s}) + "\n" for h, s in alerts)
    )

    finding = doctor.alerts(path, NOW)

    assert finding.found == "2 since yesterday, the last: second"
    assert not finding.is_fault


def test_no_alerts_are_well(tmp_path: Path):
    assert doctor.alerts(tmp_path / "alerts.ndjson", NOW).advice == ""

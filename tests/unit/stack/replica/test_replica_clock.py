from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from include.settings import Settings
from stack.failures import StackError
from stack.replica.clock import Anchor, Clock, choose_shift, keep_clock, keep_shift
from stack.replica.recordings import SECOND, Span, microseconds

pytestmark = pytest.mark.unit

RECORDED = Span(datetime(2025, 11, 25, 5, tzinfo=UTC), datetime(2025, 11, 25, 8, tzinfo=UTC))
NOW = datetime(2026, 11, 21, 4, 17, 30, tzinfo=UTC)


def test_the_last_recorded_hour_becomes_the_last_full_hour():
    shift = choose_shift(RECORDED, NOW)

    assert RECORDED.end + timedelta(hours=shift) == datetime(2026, 11, 21, 4, tzinfo=UTC)


def test_at_a_full_hour_the_hour_before_is_the_last_full_one():
    shift = choose_shift(RECORDED, datetime(2025, 11, 25, 8, tzinfo=UTC))

    assert shift == 0


def test_a_shift_is_chosen_once_and_kept(tmp_path):
    settings = Settings(state_dir=tmp_path)

    chosen = keep_shift(settings, RECORDED, microseconds(NOW))
    kept = Settings(state_dir=tmp_path, _env_file=tmp_path / "settings.env")

    assert kept.replica_shift_hours == chosen == choose_shift(RECORDED, NOW)
    assert keep_shift(kept, RECORDED, microseconds(NOW + timedelta(hours=9))) == chosen


def test_a_shift_of_another_recording_is_refused(tmp_path):
    later = Span(NOW, NOW + timedelta(hours=1))

    with pytest.raises(StackError, match="was chosen for another"):
        keep_shift(Settings(state_dir=tmp_path, replica_shift_hours=1), later, microseconds(NOW))


def test_a_fast_clock_runs_from_its_anchor(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_010 * SECOND * 1000)

    assert Clock().now() == 1_000_010 * SECOND
    assert Clock(Anchor(1_000_000 * SECOND, 500 * SECOND, 60.0)).now() == 1_100 * SECOND


def test_exchange_time_goes_on_when_the_speed_changes(tmp_path, monkeypatch):
    path = tmp_path / "clock.json"
    wall = 1_000_000 * SECOND
    monkeypatch.setattr(time, "time_ns", lambda: wall * 1000)

    assert keep_clock(path, 1.0).now() == wall
    assert not path.exists()
    fast = keep_clock(path, 10.0)
    wall += 6 * SECOND
    assert fast.now() == keep_clock(path, 10.0).now() == 1_000_060 * SECOND
    slow = keep_clock(path, 1.0)
    wall += SECOND
    assert slow.now() == keep_clock(path, 1.0).now() == 1_000_061 * SECOND


def test_a_broken_anchor_is_named(tmp_path):
    path = tmp_path / "clock.json"
    path.write_text("nonsense")

    with pytest.raises(StackError, match=r"clock\.json cannot be kept"):
        keep_clock(path, 1.0)

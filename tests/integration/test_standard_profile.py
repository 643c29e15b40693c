"""The profile `standard` on a lake that was begun with `minimal`: Trino beside what runs, with the same candles."""

from __future__ import annotations

from datetime import UTC

import polars as pl
import pytest
import trino
from polars.testing import assert_frame_equal

from tests.drivers.demo import Demo
from tests.drivers.lake import Lake

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

COLUMNS = ("product_id", "window_start", "open", "high", "low", "close", "volume", "trade_count", "vwap", "status")


@pytest.fixture(scope="module")
def pids(demo: Demo) -> dict[str, int]:
    """Go over to the profile; return which process each service had before."""
    before = {process.name: process.pid for process in demo.stack.supervisor.processes()}

    up = demo.stack.command("up", "--profile", "standard", timeout=840)

    assert up.returncode == 0, up.stdout
    return before


def test_trino_reads_the_candles_that_were_published(pids: dict[str, int], demo: Demo, lake: Lake):
    endpoint = demo.stack.settings.trino
    with trino.dbapi.connect(host=endpoint.host, port=endpoint.port, user="test") as connection:
        cursor = connection.cursor()
        cursor.execute(
            f"SELECT {', '.join(COLUMNS)} FROM lake.gold.ohlcv_1m WHERE window_start >= ? AND window_start < ?",
            (demo.start, demo.end),
        )
        rows = cursor.fetchall()

    candles = lake.rows("gold.ohlcv_1m", columns=COLUMNS).filter(pl.col("window_start").is_between(
        demo.start, demo.end, closed="left"
    )).select(COLUMNS)  # fmt: skip
    found = pl.DataFrame(
        [(product, start.astimezone(UTC), *rest) for product, start, *rest in rows], candles.schema, orient="row"
    )
    assert_frame_equal(found.sort(COLUMNS[:2]), candles.sort(COLUMNS[:2]))
    assert found.height == 60 * len(demo.hours) * found["product_id"].n_unique() > 0


def test_what_ran_before_ran_on(pids: dict[str, int], demo: Demo):
    now = {process.name: process.pid for process in demo.stack.supervisor.processes()}

    assert {name: now[name] for name in pids} == pids
    assert now["trino"]


def test_doctor_and_status_know_what_came(pids: dict[str, int], demo: Demo):
    status, doctor = demo.stack.command("status", timeout=120), demo.stack.command("doctor", timeout=120)

    assert "trino" in status.stdout
    assert doctor.returncode == 0, doctor.stdout

"""The hours page inside Airflow: what is published is told truly, and hours are built again from it, in line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from playwright.sync_api import FrameLocator, Locator, Page, expect
from pyiceberg.expressions import And, GreaterThanOrEqual, LessThan

from tests.drivers.airflow import DAG, KEY, Airflow
from tests.drivers.demo import Demo
from tests.drivers.lake import Lake
from tests.drivers.running_stack import ARTEFACTS
from tests.truth.tape import HOUR

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1500), pytest.mark.usefixtures("photograph")]

QUEUE = "rebuild_hours"
TABLE = "gold.ohlcv_1m"
SOON_MS = 90_000
"""How long the page may take to show what tasks do: they start, and it asks again."""


@pytest.fixture
def hours_page(page: Page, demo: Demo) -> Iterator[FrameLocator]:
    """The page as a person comes to it, by Airflow's navigation."""
    page.goto(demo.stack.settings.airflow.url)
    page.get_by_role("link", name="Hours", exact=True).click()
    frame = page.frame_locator('iframe[title="Hours"]')
    expect(frame.locator("td.cell").first).to_be_visible(timeout=SOON_MS)
    yield frame
    # It refreshes itself, at the cost of what other tests wait for.
    page.goto("about:blank")


def cell(frame: FrameLocator, hour: datetime, table: str = TABLE) -> Locator:
    return frame.locator(f'td.cell[aria-label^="{table} {hour.strftime(KEY)}:"]')


def statuses(lake: Lake, hour: datetime) -> dict[str, int]:
    """Count the candles of an hour by status, through another engine."""
    of_hour = And(
        GreaterThanOrEqual("window_start", hour.isoformat()), LessThan("window_start", (hour + HOUR).isoformat())
    )
    return dict(lake.rows(TABLE, of_hour).group_by("status").agg(pl.len()).iter_rows())


def announced(airflow: Airflow, hour: datetime) -> dict:
    """Return what the newest event of the candles tells of an hour."""
    return next(told for told in airflow.events(TABLE) if told["partition_key"] == hour.strftime(KEY))


def test_each_published_hour_says_whether_it_is_complete_and_shows_its_facts(
    hours_page: FrameLocator, page: Page, demo: Demo, airflow: Airflow, lake: Lake
):
    for hour in demo.hours:
        candles = statuses(lake, hour)
        expected = "gap" if candles.get("gap") else "published"
        expect(cell(hours_page, hour)).to_have_attribute("aria-label", f"{TABLE} {hour.strftime(KEY)}: {expected}")

        facts = announced(airflow, hour)
        minutes = {status: facts[f"minutes_{status}"] for status in ("complete", "empty", "gap", "open")}
        assert {status: count for status, count in minutes.items() if count} == candles
        assert facts["rows"] == sum(candles.values())
        assert facts["bytes"] > 0
        cell(hours_page, hour).hover()
        tip = hours_page.get_by_role("tooltip")
        expect(tip).to_contain_text(f"{TABLE} {hour.strftime(KEY)}", timeout=SOON_MS)
        for fact in ("content_hash", "nessie_hash_before", "nessie_hash_after"):
            expect(tip).to_contain_text(facts[fact][:16])
        expect(tip).to_contain_text(facts["snapshot_id"])
        expect(tip).to_contain_text("coinbase.raw.trades")
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.classList.remove('light', 'dark');"
                      " document.documentElement.classList.add(theme); }", theme)  # fmt: skip
        expect(hours_page.locator("html")).to_have_attribute("data-theme", theme)
        page.screenshot(path=ARTEFACTS / f"hours_{theme}.png")


def test_a_click_shows_the_run_and_what_its_gates_found_and_leads_there(
    hours_page: FrameLocator, page: Page, demo: Demo, airflow: Airflow
):
    hour = demo.hours[0]
    (newest, *_) = sorted(airflow.runs(hour), key=lambda run: run["start_date"], reverse=True)
    cell(hours_page, hour).click()
    details = hours_page.get_by_role("region", name="The hour")

    row = details.get_by_role("row").filter(has_text=newest["dag_run_id"])
    expect(row).to_contain_text(f"hour-{hour.strftime(KEY)}-")
    row.get_by_role("button", name="What the gates found").click()
    expect(details).to_contain_text(f"rules hold in {newest['dag_run_id']}", timeout=SOON_MS)
    page.screenshot(path=ARTEFACTS / "hours_details.png")

    row.get_by_role("link", name=newest["dag_run_id"]).click()
    expect(page.get_by_role("heading", name=newest["dag_run_id"])).to_be_visible(timeout=SOON_MS)


def test_an_hour_chosen_by_keyboard_is_built_again_and_a_request_that_waits_is_cancelled(
    hours_page: FrameLocator, page: Page, demo: Demo, airflow: Airflow
):
    oldest, middle, newest = demo.hours
    airflow.wait_for_backfills()
    known = {run["dag_run_id"] for run in airflow.runs()}
    chosen = hours_page.locator("#chosen")
    cell(hours_page, oldest).focus()
    page.keyboard.press("Shift+ArrowRight")
    expect(chosen).to_have_text(f"2 hours chosen: {oldest.strftime(KEY)} to {middle.strftime(KEY)}")
    page.keyboard.press("Shift+ArrowLeft")
    expect(chosen).to_have_text(f"1 hour chosen: {oldest.strftime(KEY)}")
    hours_page.get_by_label("newest first").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    queue = hours_page.get_by_role("region", name="The queue of rebuilding")
    first_row = queue.get_by_role("row").filter(has_text="newest first")
    expect(first_row).to_contain_text(oldest.strftime(KEY), timeout=SOON_MS)
    first = airflow.runs_of(QUEUE)[0]["dag_run_id"]
    second = airflow.begin(QUEUE, form(newest, newest))
    expect(queue.get_by_role("row").filter(has_text="oldest first")).to_contain_text("queued", timeout=SOON_MS)
    expect(first_row).to_contain_text("0 of 1 built", timeout=SOON_MS)
    # Airflow may have begun the run between two looks of the page.
    being_built = re.compile(rf"{re.escape(TABLE)} {oldest.strftime(KEY)}: (queued|running)")
    expect(cell(hours_page, oldest)).to_have_attribute("aria-label", being_built, timeout=SOON_MS)
    page.screenshot(path=ARTEFACTS / "hours_queue.png")
    queue.get_by_role("row").filter(has_text="oldest first").get_by_role("button", name="Cancel").click()
    expect(queue.get_by_role("row").filter(has_text="oldest first")).to_contain_text("failed", timeout=SOON_MS)
    page.goto("about:blank")

    # As if its worker had been lost: the task begins anew, and finds its own backfill.
    cleared = {"dry_run": False, "dag_run_id": first, "task_ids": ["rebuild_range"], "only_failed": False}
    airflow.call("POST", f"/dags/{QUEUE}/clearTaskInstances", json=cleared)

    assert airflow.end_of(QUEUE, first, within=900)["state"] == "success"
    new = [run for run in airflow.runs() if run["dag_run_id"] not in known and run["run_type"] == "backfill"]
    assert [(run["partition_key"], run["state"]) for run in new] == [(oldest.strftime(KEY), "success")]
    begun = airflow.call("GET", "/backfills", params={"dag_id": DAG, "limit": 100})["backfills"]
    marks = [(backfill["dag_run_conf"] or {}).get("rebuild") for backfill in begun]
    assert (marks.count(first), marks.count(second)) == (1, 0)
    noted = {run["dag_run_id"]: run["note"] for run in airflow.runs_of(QUEUE)}
    assert "1 of 1 hours were built" in noted[first]


def test_a_range_with_an_hour_that_is_not_over_is_refused_in_a_sentence(airflow: Airflow):
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    run_id = airflow.begin(QUEUE, form(now - timedelta(hours=1), now))

    run = airflow.end_of(QUEUE, run_id, within=180)

    assert run["state"] == "failed"
    assert f"hour {now.strftime(KEY)} is not over yet" in run["note"]


def form(first: datetime, last: datetime) -> dict:
    return {"first_hour": first.isoformat(), "last_hour": last.isoformat(), "backwards": False}

"""The console in a browser: lineage is seen, and an hour is rebuilt with a few clicks."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from include.contracts import gold
from tests.drivers.airflow import DAG, Airflow
from tests.drivers.demo import Demo
from tests.drivers.running_stack import RunningStack
from tests.drivers.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900), pytest.mark.usefixtures("photograph")]

MODELS = ("stg_trades", "int_trades_enriched", *(table.name for table in gold.TABLES))


def test_the_graph_shows_every_model_as_a_node_between_the_gates(page: Page, stack: RunningStack):
    page.goto(f"{stack.settings.airflow.url}/dags/{DAG}")
    page.get_by_label("Show Graph (Press g)").click()
    page.get_by_test_id("expand-all-button").click()

    expect(page.locator('.react-flow__node[data-id="gate_silver"]')).to_be_visible()
    for model in MODELS:
        expect(page.locator(f'.react-flow__node[data-id^="dbt_gold.{model}"]').first).to_be_visible()
    expect(page.locator('.react-flow__node[data-id="publish"]')).to_be_visible()


def test_a_backfill_of_one_hour_from_the_page_ends_green(page: Page, demo: Demo, airflow: Airflow):
    hour = demo.hours[2]
    known = {run["dag_run_id"] for run in airflow.runs(hour)}
    console = demo.stack.settings.airflow.url
    airflow.wait_for_backfills()

    page.goto(f"{console}/dags/{DAG}")
    page.get_by_test_id("trigger-dag-button").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Backfill", exact=True).click()
    pick(page, 0, hour)
    pick(page, 1, hour)
    dialog.get_by_text("All Runs", exact=True).click()
    expect(dialog.get_by_text("1 run will be triggered.")).to_be_visible()
    dialog.get_by_role("button", name="Run Backfill").click()

    def started() -> str | None:
        new = (run["dag_run_id"] for run in airflow.runs(hour) if run["dag_run_id"] not in known)
        return next(new, None)

    run_id = eventually(started, within=60, what="the backfill's run")
    # The console's pages refresh themselves, at the cost of the run that is waited for.
    page.goto("about:blank")
    airflow.ended(run_id, within=600)
    page.goto(f"{console}/dags/{DAG}/runs/{quote(run_id)}")
    expect(page.get_by_role("heading", name=run_id)).to_be_visible()
    expect(page.get_by_text("Success").first).to_be_visible()
    assert airflow.run(run_id)["state"] == "success"


def pick(page: Page, field: int, moment: datetime) -> None:
    """Choose a date and time in one of the dialog's fields."""
    page.get_by_test_id("datetime-input").nth(field).click()
    calendar = page.locator("[data-scope=popover][data-part=content][data-state=open]")
    calendar.get_by_placeholder("YYYY/MM/DD").fill(f"{moment:%Y/%m/%d}")
    calendar.get_by_placeholder("HH:mm").fill(f"{moment:%H:%M}")
    page.keyboard.press("Escape")
    expect(calendar).to_have_count(0)

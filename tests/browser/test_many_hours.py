"""The hours page with thousands of cells, served by its own web layer over Airflow's tables, without a stack."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from airflow.models import import_all_models
from airflow.models.base import Base
from fastapi import FastAPI
from playwright.sync_api import Locator, Page, expect, sync_playwright
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from include.hours_page import app as hours_app
from include.orchestration.announcing import TABLES as ANNOUNCED
from tests.browser.conftest import FLAGS
from tests.drivers.airflow_records import KEY, Records, write_hours
from tests.drivers.running_stack import ARTEFACTS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

TABLES = tuple(table.full_name for table in ANNOUNCED)
HOURS = 24 * 45
MONTH = 720
CELLS = MONTH * len(TABLES)
SLOWEST_DRAWING_S = 5
SLOWEST_FRAME_MS = 400
"""With seven processes to a core it took 124, drawn without a graphics card."""
SCROLLED = """async () => {
  const box = document.getElementById("scroller"), frames = [];
  let last = performance.now();
  for (let n = 0; n < 60; n += 1) {
    box.scrollLeft = n * 100;
    await new Promise(requestAnimationFrame);
    frames.push(performance.now() - last);
    last = performance.now();
  }
  return frames.sort((a, b) => a - b)[30];
}"""


@pytest.fixture(scope="module")
def newest() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, newest: datetime) -> Iterator[str]:
    """Serve the page as Airflow mounts it, to anybody."""
    import_all_models()
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('airflow') / 'airflow.db'}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        write_hours(Records(connection), TABLES, HOURS, newest)

    def session() -> Iterator[Session]:
        with Session(engine) as opened:
            yield opened

    page = hours_app.make_app()
    page.dependency_overrides[hours_app.session] = session
    for needed in hours_app.may_read:
        page.dependency_overrides[needed.dependency] = lambda: None
    airflow = FastAPI()
    airflow.mount("/hours", page)
    server = uvicorn.Server(uvicorn.Config(airflow, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/hours/"
    server.should_exit = True
    thread.join(30)
    engine.dispose()


@pytest.fixture(scope="module")
def page(address: str, chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"),
            executable_path=chromium,
            args=FLAGS,
            viewport={"width": 1600, "height": 700},
            color_scheme="dark",
        )
        page = context.new_page()
        page.goto(address)
        yield page
        context.close()


def cell(page: Page, table: str, hour: str) -> Locator:
    return page.locator(f'td.cell[aria-label^="{table} {hour}:"]')


def test_a_month_of_every_table_is_drawn_and_scrolls_within_reason(page: Page, newest: datetime):
    expect(page.locator("td.cell").first).to_be_visible()

    begun = time.monotonic()
    page.get_by_role("button", name="1 month").click()
    expect(page.locator("td.cell")).to_have_count(CELLS)
    drawing = time.monotonic() - begun
    frame_ms = page.evaluate(SCROLLED)

    print(f"{CELLS} cells drawn in {drawing:.2f} s, a frame of scrolling in {frame_ms:.0f} ms")
    assert drawing < SLOWEST_DRAWING_S
    assert frame_ms < SLOWEST_FRAME_MS
    expect(cell(page, TABLES[0], newest.strftime(KEY))).to_have_count(1)


def test_every_status_is_told_by_a_sign_and_in_words_and_not_by_colour_alone(page: Page, newest: datetime):
    expected = {0: "running", 1: "queued", 2: "published", 3: "missing", 5: "failed gate", 7: "failed", 11: "gap"}
    expected[13] = "stale"

    signs = {}
    for back, status in expected.items():
        hour = (newest - timedelta(hours=back)).strftime(KEY)
        found = cell(page, "gold.ohlcv_1m", hour)
        expect(found).to_have_attribute("aria-label", f"gold.ohlcv_1m {hour}: {status}")
        signs[status] = found.text_content()

    assert len(set(signs.values())) == len(expected)


def test_the_keyboard_goes_everywhere_chooses_hours_and_opens_one(page: Page, newest: datetime):
    first, last = (newest - timedelta(hours=MONTH - 1)).strftime(KEY), newest.strftime(KEY)
    cell(page, TABLES[0], last).focus()

    page.keyboard.press("Home")
    expect(cell(page, TABLES[0], first)).to_be_focused()
    expect(cell(page, TABLES[0], first)).to_be_in_viewport()
    page.keyboard.press("PageDown")
    page.keyboard.press("ArrowDown")
    expect(cell(page, TABLES[1], (newest - timedelta(hours=MONTH - 25)).strftime(KEY))).to_be_focused()
    page.keyboard.press("End")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowLeft")
    chosen = (newest - timedelta(hours=3)).strftime(KEY)
    expect(page.locator("#chosen")).to_have_text(f"4 hours chosen: {chosen} to {last}")
    expect(page.get_by_role("tooltip")).to_contain_text(f"{TABLES[1]} {chosen}: missing")

    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    details = page.get_by_role("region", name="The hour")
    expect(details).to_contain_text("Rows hashed as 5feceb66")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    expect(cell(page, TABLES[1], (newest - timedelta(hours=2)).strftime(KEY))).to_be_focused()


def test_a_year_is_shown_by_days_and_a_day_opens_its_hours(page: Page, newest: datetime):
    page.get_by_role("button", name="1 year").click()
    day = (newest - timedelta(days=3)).strftime("%Y-%m-%d")
    found = cell(page, "silver.trades", day)
    expect(found).to_have_count(1)
    found.scroll_into_view_if_needed()
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=Path(ARTEFACTS) / "a_year_by_days_in_the_dark.png")

    found.click()

    expect(cell(page, "silver.trades", f"{day}T23")).to_have_count(1)
    assert page.locator("#spans button[aria-pressed=true]").text_content() == "2 days"

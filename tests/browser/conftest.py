"""A person at the console: headless Chromium, logged in as the administrator."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.drivers.running_stack import ARTEFACTS, RunningStack

INSTALL = Path(__file__).parent / "install_chromium.sh"
# Without most of these it calls home at every start.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 60_000


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of the browser, installing it if it is not there."""
    installed = subprocess.run([INSTALL], capture_output=True, text=True, timeout=600, check=False)
    assert installed.returncode == 0, installed.stderr
    return installed.stdout.strip()


@pytest.fixture(scope="module")
def page(stack: RunningStack, chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Log in and hand over the console's page."""
    secret = stack.settings.airflow_password
    assert secret is not None
    profile = tmp_path_factory.mktemp("chromium")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium,
            args=FLAGS,
            viewport={"width": 1600, "height": 1000},
            locale="en-GB",
            timezone_id="UTC",
        )
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.goto(stack.settings.airflow.url)
        page.get_by_label("Username").fill("admin")
        page.get_by_label("Password").fill(secret.get_secret_value())
        page.get_by_role("button", name="Sign in").click()
        page.get_by_test_id("nav-dags-link").wait_for()
        yield page
        context.close()


@pytest.fixture
def photograph(page: Page, request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep a picture of how the test ended, whether well or badly."""
    yield
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{request.node.name}.png")

"""`docs/iceberg.md` holds: every snippet of it runs, in its order, and gives what the page says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyhive import hive
from pyhive.exc import Error

from include.settings import CHECKOUT
from tests.drivers.airflow import Airflow
from tests.drivers.demo import Demo
from tests.drivers.lake import Lake
from tests.drivers.page import Rows, Snippet, Values, snippets
from tests.drivers.running_stack import RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PAGE = CHECKOUT / "docs" / "iceberg.md"
ELSEWHERE = {"sql trino": "tests/integration/test_standard_profile.py"}


@pytest.fixture
def session(stack: RunningStack) -> Iterator[hive.Connection]:
    endpoint = stack.settings.thrift
    with hive.connect(endpoint.host, endpoint.port, username="lake") as connection:
        yield connection


def query(session: hive.Connection, statement: str) -> Rows:
    with session.cursor() as cursor:
        cursor.execute(statement)
        try:
            rows = cursor.fetchall()
        except TypeError:
            # The driver cannot fetch from a statement without columns: one that gives nothing.
            return Rows([], [])
        return Rows([column[0] for column in cursor.description], rows)


def run(stack: RunningStack, *command: str) -> None:
    beside_python = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=stack.environment | {"PATH": beside_python, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_snippet_of_the_page_holds(demo: Demo, airflow: Airflow, lake: Lake, session: hive.Connection):
    stack, values, refusal = demo.stack, Values(), ""
    before = lake.references()
    read: list[str] = []

    def hold(snippet: Snippet) -> None:
        nonlocal refusal
        match snippet.kind:
            case "sql":
                values.learn(query(session, values.fill(snippet.text)))
            case "sql fails":
                with pytest.raises(Error) as refused:
                    query(session, values.fill(snippet.text))
                refusal = str(refused.value)
            case "text":
                assert snippet.text in refusal
            case "bash":
                run(stack, "bash", "-ec", snippet.text)
            case "python":
                run(stack, sys.executable, "-W", "error", "-c", snippet.text)
            case kind:
                assert kind in ELSEWHERE, f"nobody runs what is called {kind!r}"

    for snippet in snippets(PAGE):
        try:
            hold(snippet)
        except Exception as error:
            raise AssertionError(f"line {snippet.line} of {PAGE.name}: {error}") from error
        read.append(snippet.kind)

    assert read.count("sql") > 20
    assert {"sql fails", "text", "bash", "python"} <= set(read)
    assert lake.references().keys() - {"turn"} <= before.keys(), "the page leaves something behind"

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from include.settings import CHECKOUT

FIRST_HOUR = "2026-11-20T06:00:00+00:00"


def environment(state: Path) -> dict[str, str]:
    """Give the variables of a stack that has been initialised and never started."""
    return os.environ | {
        "AIRFLOW_HOME": str(state / "airflow"),
        "AIRFLOW_CONFIG": str(CHECKOUT / "airflow" / "airflow.cfg"),
        "LAKE_STATE_DIR": str(state),
        "LAKE_FIRST_HOUR": FIRST_HOUR,
        "PYTHONPATH": str(CHECKOUT),
        "DBT_TARGET_PATH": str(state / "dbt"),
        "DBT_LOG_PATH": str(state / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }


def run(*command: str, state: Path) -> None:
    finished = subprocess.run(
        command, cwd=CHECKOUT, env=environment(state), capture_output=True, text=True, timeout=180, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def describe(state: Path) -> dict[str, Any]:
    """Load the DAGs in a process of their own, as Airflow does, and return what they are."""
    result = state / "dags.json"
    run(sys.executable, str(Path(__file__).parent / "describe.py"), str(CHECKOUT / "dags"), str(result), state=state)
    return dict(json.loads(result.read_text()))


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the state folder of a stack with dbt's manifest."""
    state = tmp_path_factory.mktemp("state")
    dbt = str(Path(sys.executable).parent / "dbt")
    run(dbt, "parse", "--project-dir", "dbt_project", "--profiles-dir", "dbt_project", state=state)
    return state


@pytest.fixture(scope="session")
def bag(initialised: Path) -> Mapping[str, Any]:
    return describe(initialised)


@pytest.fixture(scope="session")
def standard_bag(initialised: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Load the DAGs of a stack of the larger profile."""
    state = tmp_path_factory.mktemp("standard")
    shutil.copytree(initialised / "dbt", state / "dbt")
    (state / "settings.env").write_text("LAKE_PROFILE=standard\n")
    return describe(state)


@pytest.fixture(scope="session")
def bare_bag(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Load the DAGs of a stack that was never initialised."""
    return describe(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session")
def preloading(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What a task's process imports beyond what it is forked with."""
    state = tmp_path_factory.mktemp("state")
    result = state / "preloading.json"
    script, configuration = Path(__file__).parent / "preloading.py", CHECKOUT / "airflow" / "airflow.cfg"
    run(sys.executable, str(script), str(configuration), str(CHECKOUT / "dags"), str(result), state=state)
    return dict(json.loads(result.read_text()))

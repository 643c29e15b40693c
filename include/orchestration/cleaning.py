"""Airflow's own past: what nobody looks at any more is deleted, what the hours page needs stays."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import task
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException

from include.settings import CHECKOUT, Settings

log = logging.getLogger(__name__)

RECORDS = (
    "callback",
    "dag_run",
    "dag_version",
    "deadline",
    "import_error",
    "job",
    "log",
    "partitioned_asset_key_log",
    "revoked_token",
    "task_instance",
    "task_instance_history",
    "task_reschedule",
    "task_state_store",
    "trigger",
    "xcom",
)
"""Airflow's tables that are cleaned. Not `asset_event`: it says for ever which hour was published, and how."""


@task
def clean_records() -> None:
    """Delete old runs and what belongs to them.

    Raises:
        AirflowException: If a table could not be cleaned.
    """
    before = _before().isoformat()
    # Tasks may not reach Airflow's database; this command is Airflow's own, in the environment that may.
    command = [sys.executable, "-m", "stack", "run", "airflow", "db", "clean", "--tables", ",".join(RECORDS)]
    command += ["--clean-before-timestamp", before, "--skip-archive", "--error-on-cleanup-failure", "--yes"]
    done = subprocess.run(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    log.info("records before %s:\n%s", before, done.stdout)
    if done.returncode != 0:
        raise AirflowException(f"airflow db clean ended with {done.returncode}; its words are above")


@task
def clean_logs() -> int:
    """Delete the logs of old runs, and of old parsing; the result is how many folders."""
    folders = list(old_logs(Path(conf.get("logging", "base_log_folder")), _before()))
    for folder in folders:
        shutil.rmtree(folder)
    log.info("folders of logs deleted: %d", len(folders))
    return len(folders)


def old_logs(root: Path, before: datetime) -> Iterator[Path]:
    """Yield the folders of runs, and of days of parsing, into which nothing was written since a moment."""
    for folder in (*root.glob("dag_id=*/run_id=*"), *root.glob("dag_processor/????-??-??")):
        newest = max((path.lstat().st_mtime for path in (folder, *folder.rglob("*"))), default=0.0)
        if not folder.is_symlink() and datetime.fromtimestamp(newest, UTC) < before:
            yield folder


def _before() -> datetime:
    return datetime.now(UTC) - Settings.load().airflow_past_kept

"""Running Spark jobs beside the stream, from tasks that may be killed."""

from __future__ import annotations

import logging
import os

import psutil
from airflow.sdk import Context

log = logging.getLogger(__name__)

NICENESS = 5
"""The stream, which the market does not wait for, goes before the hour's job."""
STOP_S = 10.0


def stand_alone(context: Context) -> None:
    """Make a Spark task the only one of its attempt, and a modest one; a `pre_execute` hook.

    A task that is killed leaves its spark-submit behind, which would go on writing to the branch beside the next try.
    It is known by the branch, whose name no other attempt has.
    """
    os.nice(NICENESS)
    branch = context["ti"].xcom_pull(task_ids="open_branch")
    if branch:
        end_processes_with(f".ref={branch}")


def end_processes_with(argument: str) -> None:
    """End the processes, whoever started them, that have an argument which ends like this."""
    left = [process for process in psutil.process_iter(["cmdline"]) if _has(process, argument)]
    for process in left:
        log.warning("ending what an earlier try left behind: process %s", process.pid)
        process.terminate()
    _, deaf = psutil.wait_procs(left, timeout=STOP_S)
    for process in deaf:
        process.kill()
    psutil.wait_procs(deaf, timeout=STOP_S)


def _has(process: psutil.Process, argument: str) -> bool:
    return any(part.endswith(argument) for part in process.info["cmdline"] or ())

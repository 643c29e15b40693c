"""A demo from cold: how long until hours are published, what one hour takes, and how much memory it needs.

All tools are there beforehand; the state folder is new. The recording is the one that comes with the project.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import table
from tests.drivers.airflow import Airflow
from tests.drivers.running_stack import RunningStack, variable

SAMPLE_SECONDS = 3.0
HOURS = 3
MIB = 1024**2


@dataclass
class Memory:
    """The proportional memory of a stack's processes, sampled until told to stop.

    A page that several processes share is counted once in all, not once in each.
    """

    stack: RunningStack
    peak: Counter[str] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Sample; keep the sample with the highest sum."""
        while not self.stop.wait(SAMPLE_SECONDS):
            sample = self.sample()
            if sample.total() > self.peak.total():
                self.peak = sample

    def sample(self) -> Counter[str]:
        """Return the bytes of each service now; what the hour's tasks start counts to Airflow's scheduler."""
        services: Counter[str] = Counter()
        names: dict[int, str] = {}
        for process in self.stack.processes():
            try:
                inherited = names.get(process.ppid(), "supervisor and commands")
                name = names[process.pid] = variable(process, "LAKE_SERVICE") or inherited
                services[name] += process.memory_full_info().pss
            except psutil.NoSuchProcess:
                continue
        return services


def measure() -> str:
    """Run a demo from cold and return its results as Markdown.

    Raises:
        RuntimeError: If the demo failed; with what it printed last.
    """
    state = Path(tempfile.mkdtemp(prefix="lake-benchmark-"))
    stack = RunningStack(state)
    memory = Memory(stack)
    sampler = threading.Thread(target=memory.watch)
    begun, started = datetime.now(UTC), time.monotonic()
    sampler.start()
    try:
        demo = stack.command("demo", timeout=1200)
        seconds = time.monotonic() - started
        if demo.returncode != 0:
            raise RuntimeError(f"the demo failed: {demo.stdout[-2000:]}")
        airflow = Airflow(stack.settings)
        runs = sorted(airflow.runs(), key=lambda run: run["partition_key"])[:HOURS]
        hours = [times(airflow, run) for run in runs]
        again = times(airflow, airflow.ended(airflow.trigger(stack_hour(runs[-1])), within=600))
    finally:
        memory.stop.set()
        sampler.join()
        stack.command("down", timeout=180)
        shutil.rmtree(state)
    published = [(hour["publish"][1] - begun).total_seconds() for hour in hours]
    summary = table(
        ("a demo from cold", "measured", "promised"),
        [
            ("first hour published after", f"{published[0]:.0f} s", "under 240 s"),
            ("third hour published after", f"{published[2]:.0f} s", "under 420 s"),
            ("the command returned after", f"{seconds:.0f} s", ""),
            ("peak of proportional memory", f"{memory.peak.total() / MIB:,.0f} MiB", "under 6,144 MiB"),
        ],
    )
    each = table(
        ("hour", "trades whole in Bronze → published", "wait_for_hour → publish"),
        [
            (name, f"{span(hour, 'wait_for_hour', 1):.0f} s", f"{span(hour, 'wait_for_hour', 0):.0f} s")
            for name, hour in (*zip(("first", "second", "third"), hours, strict=True), ("third, rebuilt", again))
        ],
    )
    parts = table(("at the peak", "MiB"), [(name, f"{used / MIB:,.0f}") for name, used in memory.peak.most_common()])
    return f"{summary}\n\n{each}\n\n{parts}"


def times(airflow: Airflow, run: dict[str, Any]) -> dict[str, tuple[datetime, datetime]]:
    """Return when each task of a run that succeeded began and ended.

    Raises:
        RuntimeError: If the run failed.
    """
    if run["state"] != "success":
        raise RuntimeError(f"{run['dag_run_id']} is {run['state']}")
    return {
        task["task_id"]: (datetime.fromisoformat(task["start_date"]), datetime.fromisoformat(task["end_date"]))
        for task in airflow.tasks(run["dag_run_id"])
        if task["start_date"] and task["end_date"]
    }


def span(hour: dict[str, tuple[datetime, datetime]], first: str, edge: int) -> float:
    """Return the seconds from a task's start (edge 0) or end (edge 1) to the end of `publish`."""
    return (hour["publish"][1] - hour[first][edge]).total_seconds()


def stack_hour(run: dict[str, Any]) -> datetime:
    """Return the hour of a run."""
    return datetime.fromisoformat(run["partition_date"])

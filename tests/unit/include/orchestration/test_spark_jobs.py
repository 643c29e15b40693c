import subprocess
import sys

import psutil
import pytest

from include.orchestration.spark_jobs import end_processes_with

pytestmark = pytest.mark.unit


def test_only_what_writes_to_the_attempts_branch_is_ended():
    sleep = [sys.executable, "-c", "import time; time.sleep(60)", "--conf"]
    earlier = subprocess.Popen([*sleep, "spark.sql.catalog.lake.ref=hour-2026-11-20T09-0badcafe-1"])
    other = subprocess.Popen([*sleep, "spark.sql.catalog.lake.ref=hour-2026-11-20T09-0badcafe-12"])
    try:
        end_processes_with(".ref=hour-2026-11-20T09-0badcafe-1")

        assert not psutil.pid_exists(earlier.pid)
        assert other.poll() is None
    finally:
        other.kill()
        for process in (earlier, other):
            process.wait()

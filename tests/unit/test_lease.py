import json
import os
import subprocess
import sys

import pytest

from include.lease import Lease, LeaseTakenError
from include.settings import CHECKOUT

pytestmark = pytest.mark.unit

HOLD_IT = """
import sys
from pathlib import Path
from include.lease import Lease
with Lease(Path(sys.argv[1]), "producer-coinbase"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_holder(tmp_path):
    """Another process that holds the lease."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_IT, str(tmp_path)], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_holder_is_written_in_the_file(tmp_path):
    with Lease(tmp_path, "bronze-writer") as lease:
        assert json.loads(lease.path.read_text())["pid"] == os.getpid()


def test_a_second_process_is_told_who_holds_it(tmp_path, other_holder):
    with pytest.raises(LeaseTakenError, match=f"pid {other_holder.pid} on "), Lease(tmp_path, "producer-coinbase"):
        pass


def test_two_names_do_not_meet(tmp_path, other_holder):
    with Lease(tmp_path, "bronze-writer"):
        pass


def test_a_holder_that_is_killed_leaves_the_lease_free_at_once(tmp_path, other_holder):
    other_holder.kill()
    other_holder.wait()

    with Lease(tmp_path, "producer-coinbase") as lease:
        assert json.loads(lease.path.read_text())["pid"] == os.getpid()


def test_a_lease_given_back_can_be_taken_again(tmp_path):
    for _ in range(2):
        with Lease(tmp_path, "producer-coinbase"):
            pass

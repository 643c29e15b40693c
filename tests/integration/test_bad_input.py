"""What a person may get wrong: one sentence that says what to do, an exit code, and nothing half-started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drivers.running_stack import RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[RunningStack]:
    """A stack that was never started, and that no test here manages to start."""
    stack = RunningStack(tmp_path / "state")
    yield stack
    left = stack.processes()
    for process in left:
        process.kill()
    assert left == [], "something was started"


def refusal(stack: RunningStack, *arguments: str, **choices: str) -> str:
    """Run a command that must fail, and return the one sentence that it ends with."""
    failed = stack.command(*arguments, timeout=240, **choices)
    assert failed.returncode != 0, failed.stdout
    assert "Traceback" not in failed.stdout
    return failed.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"LAKE_KAFKA__PORT": "ninety"}, ("LAKE_KAFKA__PORT", "ninety")),
        ({"LAKE_PROFILE": "huge"}, ("LAKE_PROFILE", "minimal", "standard")),
        ({"LAKE_PRODUCTS": "BTCUSD"}, ("LAKE_PRODUCTS", "BTCUSD", "BTC-USD")),
        ({"LAKE_PRODUCTS": "BTC-USD,NOPE-USD"}, ("NOPE-USD",)),
        ({"LAKE_RECORDING": "/nowhere/at/all.ndjson"}, ("/nowhere/at/all.ndjson",)),
        ({"LAKE_STATE_DIR": "/proc/lake"}, ("/proc/lake", "LAKE_STATE_DIR")),
    ],
    ids=["not a port", "no profile", "not a product", "unknown product", "no recording", "no folder"],
)
def test_a_wrong_setting_is_named_before_anything_starts(newcomer: RunningStack, choices, words):
    sentence = refusal(newcomer, "demo", **choices)

    assert [word for word in words if word not in sentence] == []


def test_a_taken_port_is_named_with_who_has_it(newcomer: RunningStack, stack: RunningStack):
    port = str(stack.ports["kafka"])

    sentence = refusal(newcomer, "demo", LAKE_KAFKA__PORT=port)

    assert port in sentence
    assert "kafka" in sentence


def test_a_disk_without_room_is_named_before_anything_starts(newcomer: RunningStack):
    newcomer.state.mkdir()

    sentence = refusal(newcomer.on_a_disk_of("64m"), "demo")

    assert str(newcomer.state) in sentence
    assert "free some" in sentence
    assert "LAKE_STATE_DIR" in sentence


def test_an_empty_recording_is_refused_before_anything_starts(newcomer: RunningStack, tmp_path: Path):
    empty = tmp_path / "empty.ndjson"
    empty.write_text('{"type":"heartbeat"}\n')

    assert str(empty) in refusal(newcomer, "demo", LAKE_RECORDING=str(empty))


def test_a_lake_is_not_run_on_with_another_recording(stack: RunningStack, tmp_path: Path):
    other = tmp_path / "other.ndjson"
    other.write_text("")

    sentence = refusal(stack, "demo", LAKE_RECORDING=str(other))

    assert str(other) in sentence
    assert stack.processes() != []


def test_a_command_that_needs_a_stack_says_how_to_get_one(newcomer: RunningStack):
    assert "make demo" in refusal(newcomer, "run", "airflow", "version")

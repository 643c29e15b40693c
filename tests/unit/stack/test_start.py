from pathlib import Path

import pytest

from stack.failures import StackError
from stack.service import Step
from stack.start import is_due, run_step

pytestmark = pytest.mark.unit


def step(inputs: str, done: list[str] | None = None) -> Step:
    return Step("topics", "", lambda: (done if done is not None else []).append(inputs), lambda: inputs)


def test_a_step_is_due_until_it_has_run(tmp_path: Path):
    assert is_due(step("a"), tmp_path)
    run_step(step("a"), tmp_path)
    assert not is_due(step("a"), tmp_path)


def test_a_step_is_due_again_when_its_inputs_change(tmp_path: Path):
    run_step(step("a"), tmp_path)

    assert is_due(step("b"), tmp_path)


def test_a_step_that_fails_stays_due_even_if_it_ran_before(tmp_path: Path):
    def fail() -> None:
        raise StackError("no")

    run_step(step("a"), tmp_path)
    with pytest.raises(StackError):
        run_step(Step("topics", "", fail, lambda: "a"), tmp_path)

    assert is_due(step("a"), tmp_path)


def test_a_step_runs_when_it_is_told_to_even_if_it_is_not_due(tmp_path: Path):
    done: list[str] = []
    run_step(step("a", done), tmp_path)
    run_step(step("a", done), tmp_path)

    assert done == ["a", "a"]

from pathlib import Path

import pytest

from include import scale
from stack.lifecycle import OURS

pytestmark = pytest.mark.unit


def test_the_writer_has_one_core_until_somebody_chooses(tmp_path: Path):
    assert scale.cores(tmp_path) == 1


def test_a_choice_holds_until_the_next(tmp_path: Path):
    scale.keep(tmp_path, 3)
    assert scale.cores(tmp_path) == 3

    scale.keep(tmp_path, 2)
    assert scale.cores(tmp_path) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"bronze-writer": 0}', '{"bronze-writer": "4"}', "null"])
def test_a_file_that_says_no_number_says_nothing(tmp_path: Path, text: str):
    (tmp_path / scale.FILE).write_text(text)

    assert scale.cores(tmp_path) == 1


def test_a_state_folder_with_a_choice_can_still_be_removed(tmp_path: Path):
    scale.keep(tmp_path, 2)

    assert {path.name for path in tmp_path.iterdir()} <= OURS

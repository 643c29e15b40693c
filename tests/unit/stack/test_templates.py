import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stack.templates import fill, render, write_private

pytestmark = pytest.mark.unit


def template(folder: Path, text: str) -> Path:
    path = folder / "templates" / "kafka.properties"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_each_name_is_replaced_by_its_value():
    assert fill("port=${PORT} at ${HOST}:${PORT}", {"PORT": "9092", "HOST": "here"}) == "port=9092 at here:9092"


def test_a_name_without_a_value_is_an_error():
    with pytest.raises(KeyError, match="PROT"):
        fill("port=${PROT}", {"PORT": "9092"})


def test_rendered_files_are_for_their_owner_only(tmp_path: Path):
    path = template(tmp_path, "secret=${S}")

    render(path.parent, [path.name], {"S": "x"}, tmp_path / "conf")

    written = tmp_path / "conf" / "kafka.properties"
    assert written.read_text() == "secret=x"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_the_hash_changes_exactly_when_a_value_that_is_used_does(tmp_path: Path):
    path = template(tmp_path, "port=${PORT}")
    first, same, other = (
        render(path.parent, [path.name], values, tmp_path / "conf")
        for values in ({"PORT": "1"}, {"PORT": "1", "UNUSED": "2"}, {"PORT": "3"})
    )

    assert first == same != other


def test_a_private_file_that_others_could_read_is_replaced_by_one_that_they_cannot(tmp_path: Path):
    path = tmp_path / "secrets.env"
    path.touch(mode=0o644)

    write_private(path, "x")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_private_file_written_by_several_at_once_is_whole_and_nothing_is_left_beside_it(tmp_path: Path):
    path = tmp_path / "passwords.json"
    texts = [str(number) * 10_000 for number in range(8)]

    with ThreadPoolExecutor(len(texts)) as pool:
        for _ in range(20):
            list(pool.map(lambda text: write_private(path, text), texts))

    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]

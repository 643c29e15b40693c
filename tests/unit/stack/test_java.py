from pathlib import Path

import pytest

from stack import java
from stack.java import Java

pytestmark = pytest.mark.unit


def runtime(home: Path, version: str) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch(mode=0o755)
    (home / "release").write_text(f'IMPLEMENTOR="X"\nJAVA_VERSION="{version}"\n')
    return home


@pytest.mark.parametrize(("version", "major"), [("17.0.9", 17), ("21", 21), ("25.0.3", 25)])
def test_the_major_version_is_read_without_starting_java(tmp_path: Path, version: str, major: int):
    home = runtime(tmp_path / "jdk", version)

    assert java.inspect(home) == Java(home, major)


def test_a_folder_without_java_is_no_runtime(tmp_path: Path):
    assert java.inspect(tmp_path) is None


def test_the_runtime_of_the_machine_is_taken_before_the_wheels(tmp_path: Path):
    on_machine = [Java(tmp_path / "a", 21), Java(tmp_path / "b", 17)]
    runtime(java.wheel_home(17, tmp_path), "17.0.9")

    assert java.locate(17, tmp_path, on_machine) == Java(tmp_path / "b", 17)


def test_a_machine_with_other_versions_only_gets_the_wheels(tmp_path: Path):
    home = runtime(java.wheel_home(17, tmp_path), "17.0.9")

    assert java.locate(17, tmp_path, [Java(tmp_path / "a", 11), Java(tmp_path / "b", 25)]) == Java(home, 17)


def test_a_machine_without_java_has_the_servers_runtime_in_its_environment(tmp_path: Path):
    found = java.locate(21, tmp_path, [])

    assert found is not None
    assert found.version == 21


def test_java_home_is_asked_first_then_the_path(tmp_path: Path):
    one, other = runtime(tmp_path / "one", "17"), runtime(tmp_path / "other", "21")

    homes = java.candidates({"JAVA_HOME": str(one), "PATH": str(other / "bin")})

    assert homes[:2] == [one, other]


def test_a_runtime_found_twice_is_listed_once(tmp_path: Path):
    home = runtime(tmp_path / "jdk", "17")

    assert java.installed([home, tmp_path / "nothing", home]) == [Java(home, 17)]

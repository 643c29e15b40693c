import hashlib
from pathlib import Path

import pytest
from jgo.env import LockedDependency, LockFile, compute_spec_hash

from stack import jars
from stack.failures import StackError
from stack.jars import JarSet
from stack.standard import TRINO

pytestmark = pytest.mark.unit

ALL = (*jars.MINIMAL, jars.CHECKPOINTS, TRINO)
BYTES = b"a jar"


@pytest.fixture
def jar_set(tmp_path: Path) -> JarSet:
    """A set of one jar, locked and in its place."""
    found = JarSet("toys", tmp_path / "toys")
    found.home.mkdir()
    found.spec.write_text('[dependencies]\ncoordinates = ["toys:ball:1"]\n')
    lock(found, hashlib.sha256(BYTES).hexdigest())
    found.folder(tmp_path).mkdir(parents=True)
    (found.folder(tmp_path) / "ball-1.jar").write_bytes(BYTES)
    return found


def lock(jar_set: JarSet, sha256: str | None) -> None:
    jar = LockedDependency("toys", "ball", "1", sha256=sha256)
    LockFile([jar], spec_hash=compute_spec_hash(jar_set.spec)).save(jar_set.lock)


def test_a_jar_as_in_the_lock_is_no_fault(jar_set: JarSet, tmp_path: Path):
    assert jars.faults(jar_set, tmp_path) == {}


def test_missing_changed_and_stray_jars_are_named(jar_set: JarSet, tmp_path: Path):
    folder = jar_set.folder(tmp_path)
    (folder / "ball-1.jar").write_bytes(b"another jar")
    (folder / "other-1.jar").write_bytes(BYTES)
    assert jars.faults(jar_set, tmp_path) == {"ball-1.jar": "changed", "other-1.jar": "stray"}

    (folder / "ball-1.jar").unlink()
    assert jars.faults(jar_set, tmp_path) == {"ball-1.jar": "missing", "other-1.jar": "stray"}


def test_a_verified_jar_is_read_again_when_it_was_touched(jar_set: JarSet, tmp_path: Path):
    with jars.download_progress() as progress:
        assert jars.fetch((jar_set,), tmp_path, progress) == 0
    (jar_set.folder(tmp_path) / "ball-1.jar").write_bytes(b"Another jar")

    assert jars.faults(jar_set, tmp_path) == {"ball-1.jar": "changed"}


def test_a_lock_of_another_list_is_refused(jar_set: JarSet):
    jar_set.spec.write_text('[dependencies]\ncoordinates = ["toys:ball:2"]\n')

    with pytest.raises(StackError, match="was not made from"):
        jars.locked(jar_set)


def test_a_lock_without_a_hash_is_refused(jar_set: JarSet):
    lock(jar_set, None)

    with pytest.raises(StackError, match=r"no sha256 for ball-1\.jar"):
        jars.locked(jar_set)


def test_a_missing_lock_is_refused(jar_set: JarSet):
    jar_set.lock.unlink()

    with pytest.raises(StackError, match="is missing"):
        jars.locked(jar_set)


@pytest.mark.parametrize("jar_set", ALL, ids=lambda jar_set: jar_set.name)
def test_every_committed_lock_is_made_from_its_list_and_hashes_every_file(jar_set: JarSet):
    assert all(len(jar.sha256 or "") == 64 for jar in jars.locked(jar_set))


@pytest.mark.parametrize("path", [path for jar_set in ALL for path in (jar_set.spec, jar_set.lock)], ids=str)
def test_no_committed_list_names_a_host(path: Path):
    assert "://" not in path.read_text()

"""Spark starts from an archive of its classes where Java can make one, and without it where Java cannot."""

import stat
from pathlib import Path

import pytest

from include.settings import Settings
from stack import class_archive
from stack.java import ONE_COMPILER, Java
from stack.layout import Layout

pytestmark = pytest.mark.unit

NO_JAVA = "#!/bin/sh\necho this machine has no Java >&2\nexit 3\n"


@pytest.fixture
def layout(tmp_path: Path):
    home = tmp_path / "java"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text(NO_JAVA)
    (home / "bin" / "java").chmod(stat.S_IRWXU)
    (home / "release").write_text('JAVA_VERSION="17.0.1"')
    (tmp_path / "jars" / "spark").mkdir(parents=True)

    def make(**choices: object) -> Layout:
        java = Java(home, 17)
        return Layout(Settings(state_dir=tmp_path / "state", tools_dir=tmp_path, **choices), java, java)

    return make


def options(layout: Layout) -> list[str]:
    return class_archive.environment(layout, ONE_COMPILER)["SPARK_SUBMIT_OPTS"].split()


def test_a_spark_process_has_a_class_path_without_folders_and_its_words_for_logs_by_name(layout, tmp_path):
    told = options(layout())

    places = told[told.index("-cp") + 1].split(":")
    assert all(place.endswith("/*") for place in places)
    assert places[0] == f"{tmp_path}/jars/spark/*"
    assert f"-Dlog4j2.configurationFile={tmp_path}/state/conf/spark/log4j2.properties" in told


def test_what_checkpoints_on_the_store_need_comes_after_all_that_the_archive_is_for(layout):
    plain, further = options(layout()), options(layout(checkpoints="s3"))

    at = plain.index("-cp") + 1
    assert further[at].startswith(plain[at] + ":")
    assert further[at + 1 :] == plain[at + 1 :]


def test_other_jars_or_another_java_have_another_archive(layout, tmp_path):
    paths = [class_archive.path(layout())]
    (tmp_path / "jars" / "spark" / "new.jar").write_bytes(b"jar")
    paths.append(class_archive.path(layout()))
    (tmp_path / "java" / "release").write_text('JAVA_VERSION="17.0.2"')
    paths.append(class_archive.path(layout()))

    assert len(set(paths)) == 3


def test_where_java_makes_no_archive_the_reason_is_kept_and_it_is_not_asked_again(layout, tmp_path):
    class_archive.bring(layout())

    assert not class_archive.path(layout()).exists()
    assert "this machine has no Java" in class_archive.refusal(layout()).read_text()
    assert not list((tmp_path / "classes").glob(".incoming-*"))
    (tmp_path / "java" / "bin" / "java").unlink()
    class_archive.bring(layout())
    assert "this machine has no Java" in class_archive.refusal(layout()).read_text()


def test_an_archive_of_other_jars_goes_when_there_is_a_new_one(layout, tmp_path):
    old = class_archive.path(layout())
    old.parent.mkdir()
    old.write_bytes(b"archive")
    (tmp_path / "jars" / "spark" / "new.jar").write_bytes(b"jar")

    class_archive.bring(layout())

    assert not old.exists()

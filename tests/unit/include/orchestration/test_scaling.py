"""The Bronze writer gets the cores that are wanted, on a supervisord of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from include import scale
from include.orchestration.ingestion import WRITER, Wanted
from include.orchestration.supervision import scale_writer
from include.settings import Settings
from include.supervisord import State, Supervisord
from stack.java import Java
from stack.layout import Layout
from stack.service import Service
from stack.supervisor import Supervisor

pytestmark = pytest.mark.unit


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", tools_dir=tmp_path)


@pytest.fixture
def supervisord(settings: Settings) -> Iterator[Supervisord]:
    """One that runs a writer that does nothing."""
    java = Java(settings.tools_dir / "jdk", 21)
    supervisor = Supervisor(Layout(settings, java, java))
    supervisor.configure([Service(WRITER, "", ("sleep", "600"), lambda: True)], {})
    supervisor.start()
    try:
        supervisor.adopt()
        supervisor.launch(WRITER)
        yield supervisor
    finally:
        supervisor.shut_down()


def test_a_writer_with_other_cores_than_are_wanted_is_stopped_and_starts_with_those(
    settings: Settings, supervisord: Supervisord
):
    scale_writer(supervisord, settings, Wanted(writer_cores=2))

    assert supervisord.process(WRITER).state is State.STOPPED
    assert scale.cores(settings.state_dir) == 2


def test_a_writer_with_the_cores_that_are_wanted_is_left_alone(settings: Settings, supervisord: Supervisord):
    scale.keep(settings.state_dir, 2)
    before = supervisord.process(WRITER).pid

    scale_writer(supervisord, settings, Wanted(writer_cores=2))

    assert supervisord.process(WRITER).is_up
    assert supervisord.process(WRITER).pid == before

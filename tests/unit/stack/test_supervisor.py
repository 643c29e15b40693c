import shlex
from pathlib import Path

import pytest
from supervisor.datatypes import dict_of_key_value_pairs
from supervisor.options import ServerOptions

from include.settings import Settings
from stack.java import Java
from stack.layout import Layout, inherited
from stack.service import Service
from stack.supervisor import Supervisor, configuration, quoted
from tests.drivers.waiting import eventually

pytestmark = pytest.mark.unit


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The layout of a stack."""
    java = Java(tmp_path / "jdk", 21)
    return Layout(Settings(state_dir=tmp_path / "state", tools_dir=tmp_path), java, java)


@pytest.mark.parametrize(
    "value", ["plain", "", "a,b=c", "it's", '{"a":"b, c"}', "100%", "/a/b:/c", "http://127.0.0.1:1/x?y=z", "a;b #c"]
)
def test_supervisord_reads_a_value_as_it_was(value: str):
    assert dict_of_key_value_pairs(f"A={quoted(value)},B='x'".replace("%%", "%")) == {"A": value, "B": "x"}


@pytest.mark.parametrize("value", ["both ' and \"", "two\nlines"])
def test_a_value_that_supervisord_cannot_read_is_refused(value: str):
    with pytest.raises(ValueError, match="cannot be given"):
        quoted(value)


def test_supervisord_reads_the_services_as_they_are(layout: Layout, tmp_path: Path):
    layout.logs.mkdir(parents=True)
    layout.run.mkdir(parents=True)
    command = ("/bin/true", "a b", "100%", "it's")
    service = Service("kafka", "", command, lambda: True, environment={"A": "b c"}, stop_signal="INT", stop_seconds=7)
    path = tmp_path / "supervisord.conf"
    path.write_text(configuration(layout, [service], {"kafka": "abc"}))

    options = ServerOptions()
    options.realize(["-c", str(path)])
    (group,) = options.process_group_configs
    (program,) = group.process_configs

    assert program.name == "kafka"
    assert shlex.split(program.command) == list(command)
    assert program.environment["A"] == "b c"
    assert program.environment["LAKE_SERVICE"] == "kafka"
    assert program.environment["LAKE_STATE_DIR"] == str(layout.state)
    assert (program.autostart, program.stopasgroup, program.killasgroup) == (False, True, True)
    assert (program.stopwaitsecs, program.stdout_logfile) == (7, str(layout.logs / "kafka.log"))


def test_a_service_does_not_see_what_another_airflow_or_spark_is_told():
    shell = {"HOME": "/home", "AIRFLOW_HOME": "/x", "SPARK_HOME": "/x", "PYTHONPATH": "/x", "https_proxy": "p"}

    assert inherited(shell) == {"HOME": "/home", "https_proxy": "p"}


def test_a_log_is_rotated_and_its_end_is_kept(layout: Layout):
    size, kept = 10_000_000, 3
    lines = (kept + 2) * size // 100
    talk = f"seq -f %099.0f {lines}; exec sleep 600"
    service = Service("talker", "", ("sh", "-c", talk), lambda: True)
    supervisor = Supervisor(layout)
    supervisor.configure([service], {})
    supervisor.start()
    log = layout.logs / "talker.log"

    def end() -> str:
        return log.read_text()[-100:].strip() if log.exists() else ""

    try:
        supervisor.adopt()
        supervisor.launch("talker")
        eventually(lambda: end() == f"{lines:099d}", within=60, what="the last line")
    finally:
        supervisor.shut_down()

    logs = sorted(layout.logs.glob("talker.log*"))
    assert [path.name for path in logs] == ["talker.log", *(f"talker.log.{n}" for n in range(1, kept + 1))]
    assert max(path.stat().st_size for path in logs) < 1.1 * size

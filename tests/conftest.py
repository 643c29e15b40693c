"""One real stack for all tests that need one, and the truth that its tables are held against."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.settings import CHECKOUT
from tests.drivers.airflow import Airflow
from tests.drivers.demo import PRODUCTS, Demo
from tests.drivers.kafka import Kafka
from tests.drivers.lake import Lake
from tests.drivers.running_stack import ARTEFACTS, RunningStack
from tests.drivers.webhook import Webhook, webhook
from tests.truth.recorder import EDGE_PRODUCT, edge_trades, with_an_hour_before, write_recording
from tests.truth.recording import read_recording
from tests.truth.tape import HOUR, Tape, hour_of

COMMITTED_RECORDING = CHECKOUT / "stack" / "replica" / "recording" / "coinbase-2025-11-25T05.csv.zst"
if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController

STORY = (
    "test_whole_path",
    "test_dbt_project",
    "test_data_quality",
    "test_assets",
    "test_rebuild",
    "test_airflow_page",
    "test_hours_page",
    "test_branches",
    "test_iceberg_page",
    "test_cleanup",
    "test_demo_again",
    "test_bad_input",
    "test_gate",
    "test_maintenance",
    "test_supervision",
    "test_hour_under_fire",
    "test_console_under_fire",
    "test_replayed_letters",
    "test_late_trades",
    "test_second_venue",
    "test_standard_profile",
)
"""The modules that share the stack, those that look before those that break; all others come first."""
DEMO_SECONDS = 900


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the seeds of the faults be chosen."""
    faults = parser.getgroup("faults")
    faults.addoption("--seeds", type=int, default=1, metavar="N", help="run each fault on N seeds; default: 1")
    faults.addoption(
        "--seed", type=int, action="append", metavar="SEED", help="run each fault on this seed; repeatable"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seeds that nobody chose: others in each run, the same in all of its processes."""
    if told := getattr(config, "workerinput", None):
        config.option.seed = told["seeds"]
    if not config.option.seed:
        config.option.seed = [secrets.randbelow(10**6) for _ in range(config.option.seeds)]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell a process that is to do some of the tests what was chosen."""
    node.workerinput["seeds"] = node.config.option.seed


def pytest_report_header(config: pytest.Config) -> str:
    """Tell the seeds, so that a run can be had again."""
    return f"seeds of the faults: {' '.join(f'--seed {seed}' for seed in config.option.seed)}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what depends on a seed once for each."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", metafunc.config.option.seed, ids="seed={}".format)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Where two processes share modules, give one the whole story, and the other one module after the other."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByStack(LoadScopeScheduling):
        """Keeps together what shares a stack."""

        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.split("::", 1)[0]
            return "story" if chapter(Path(module)) else module

    return ByStack(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the faults first, for they wait most of their time, and the modules of `STORY` last, in its order."""
    items.sort(key=lambda item: (chapter(item.path), "faults" not in item.path.parts))


def chapter(module: Path) -> int:
    """Return which part of the story a module is; 0 if it is none."""
    return 0 if "unit" in module.parts or module.stem not in STORY else STORY.index(module.stem) + 1


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real trades and hand-made ones as frames of every form, with repeated frames and missing ids.

    It begins an hour before the three with which a lake begins.
    """
    facts = read_recording(COMMITTED_RECORDING)
    first_hour = hour_of(min(trades[0].time for trades in facts.values()))
    facts[EDGE_PRODUCT] = edge_trades(first_hour)
    return write_recording(tmp_path_factory.mktemp("recording"), with_an_hour_before(facts), seed=3)


@pytest.fixture(scope="session")
def chat() -> Iterator[Webhook]:
    """Where the stack sends its alerts, besides its own file and log."""
    with webhook() as hook:
        yield hook


@pytest.fixture(scope="session")
def demo(recording: Path, chat: Webhook, request: pytest.FixtureRequest) -> Iterator[Demo]:
    """A demo of the tests' own, beside whatever else runs here; afterwards not a process of it is left."""
    shutil.rmtree(ARTEFACTS, ignore_errors=True)
    state = CHECKOUT / ".lake" / f"test-{secrets.token_hex(3)}"
    choices = {
        "LAKE_RECORDING": str(recording),
        "LAKE_PRODUCTS": ",".join(PRODUCTS),
        "LAKE_ALERT_URLS": chat.apprise_url,
        "LAKE_STALL_LIMIT": "PT45S",
        "LAKE_START_PATIENCE": "PT90S",
        "LAKE_SUPERVISION_ROUND": "PT90S",
        "LAKE_LATE_GRACE": "PT2H",
    }
    stack = RunningStack(state, choices)
    try:
        first = stack.command("demo", timeout=DEMO_SECONDS)
        assert first.returncode == 0, first.stdout
        start = stack.settings.first_hour
        assert start is not None
        # What tests do to published hours stays as they do it; the test of this DAG lets it run.
        Airflow(stack.settings).call("PATCH", "/dags/late_trades", json={"is_paused": True})
        yield Demo(stack, first.stdout, tuple(start + n * HOUR for n in range(3)))
    except Exception:
        stack.keep_logs("stack")
        raise
    finally:
        failed = request.session.testsfailed > 0
        down = stack.command("down", timeout=180)
        left = stack.processes()
        names = [f"{process.pid} {process.name()}" for process in left]
        for process in left:
            process.kill()
        if failed or down.returncode or left:
            stack.keep_logs("stack")
        shutil.rmtree(state, ignore_errors=True)
    assert down.returncode == 0, down.stdout
    assert names == [], "`down` left processes"


@pytest.fixture(scope="session")
def stack(demo: Demo) -> RunningStack:
    """The running stack."""
    return demo.stack


@pytest.fixture(scope="session")
def tape(demo: Demo, recording: Path) -> Tape:
    """What the exchange stand-in trades, computed without its code."""
    shift = demo.stack.settings.replica_shift_hours
    assert shift is not None, "the stack kept no shift"
    return Tape(read_recording(recording), shift)


@pytest.fixture(scope="session")
def lake(stack: RunningStack) -> Lake:
    """The tables through another engine."""
    return Lake(stack.settings)


@pytest.fixture(scope="session")
def kafka(stack: RunningStack) -> Kafka:
    """The broker."""
    return Kafka(stack.settings)


@pytest.fixture(scope="session")
def airflow(stack: RunningStack) -> Airflow:
    """The console's REST API."""
    return Airflow(stack.settings)

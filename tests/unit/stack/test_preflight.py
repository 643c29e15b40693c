import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.settings import Endpoint
from stack import preflight
from stack.failures import StackError
from stack.service import Service

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _no_choices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings of a state folder that nobody has used."""
    monkeypatch.setenv("LAKE_STATE_DIR", str(tmp_path))


@pytest.fixture
def taken() -> Iterator[Endpoint]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Endpoint(port=server.getsockname()[1])


def service(name: str, *ports: Endpoint) -> Service:
    return Service(name, "", ("true",), lambda: True, ports=ports)


def refusal(*arguments, of) -> str:
    with pytest.raises(StackError) as refused:
        of(*arguments)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LAKE_KAFKA__PORT", "ninety", "LAKE_KAFKA__PORT='ninety': Input should be a valid integer"),
        ("LAKE_PROFILE", "huge", "LAKE_PROFILE='huge': Input should be 'minimal' or 'standard'"),
        ("LAKE_PRODUCTS", "BTCUSD", "LAKE_PRODUCTS names BTCUSD, which is no product; write them like BTC-USD"),
        ("LAKE_PRODUCTS", " ", "LAKE_PRODUCTS is empty"),
    ],
)
def test_a_wrong_setting_is_named_as_the_user_wrote_it(monkeypatch, name: str, value: str, words: str):
    monkeypatch.setenv(name, value)

    assert words in refusal(of=preflight.load_settings)


def test_a_port_that_is_taken_is_named_with_its_service(taken: Endpoint):
    text = refusal([service("kafka", taken)], of=preflight.check_ports)

    assert f"port {taken.port} of kafka is taken by process" in text


def test_a_port_given_twice_is_named_with_both_services(taken: Endpoint):
    free = Endpoint(port=1024)

    text = refusal([service("kafka", free), service("s3", free)], of=preflight.check_ports)

    assert "port 1024 is given to kafka and to s3" in text


def test_free_ports_are_no_fault():
    preflight.check_ports([service("kafka", Endpoint(port=1024)), service("s3", Endpoint(port=1025))])


@pytest.mark.parametrize(("name", "value"), [("LAKE_EXCHANGE", "live"), ("LAKE_RECORDING", "/other")])
def test_a_lake_is_not_run_on_with_another_source(tmp_path: Path, name: str, value: str):
    kept = {"LAKE_EXCHANGE": "replica", "LAKE_RECORDING": "/one"}

    text = refusal(kept, {name: value}, tmp_path, of=preflight.check_kept)

    assert kept[name] in text
    assert value in text
    assert "make clean" in text


def test_a_lake_is_run_on_with_another_port_or_profile(tmp_path: Path):
    preflight.check_kept({"LAKE_PROFILE": "minimal"}, {"LAKE_PROFILE": "standard", "LAKE_S3__PORT": "1"}, tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()

    assert "LAKE_STATE_DIR" in refusal(tmp_path / "file" / "state", of=preflight.check_folder)


@pytest.mark.parametrize("name", ["two words", "100%", "it's", "a:b", "a,b"])
def test_a_folder_that_not_every_service_can_read_is_refused(tmp_path: Path, name: str):
    assert name in refusal(tmp_path / name, of=preflight.check_folder)


def test_a_disk_that_is_nearly_full_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preflight, "FREE_DISK", 2**80)

    assert "free some" in refusal(tmp_path, of=preflight.check_folder)


def test_a_product_that_the_recording_lacks_is_refused_unless_the_exchange_lists_it():
    preflight.check_played(["BTC-USD", "DOGE-USD", "MINE-USD"], {"MINE-USD"})

    assert "NOPE-USD" in refusal(["NOPE-USD"], {"MINE-USD"}, of=preflight.check_played)

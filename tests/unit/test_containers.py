"""The compose file, the Dockerfile, the stack and the settings say the same."""

import os
import re
import stat
import subprocess
import sys
import threading
import tomllib
import xmlrpc.client
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from supervisor.options import ServerOptions

from include.contracts import TOPICS
from include.settings import CHECKOUT, Endpoint, Heaps, Settings
from include.supervisord import Supervisord
from stack import console, database, first_start, jars, services, standard
from stack.containers import cluster, environment, healthy, sizes
from stack.containers.__main__ import STREAMING, TEMPLATES, container_values
from stack.java import Java
from stack.layout import Layout
from stack.service import Service
from stack.supervisor import OwnContainer, configuration
from stack.templates import fill
from tests.drivers.running_stack import free_ports
from tests.drivers.waiting import eventually

pytestmark = pytest.mark.unit

COMPOSE_TEXT = (CHECKOUT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SETTINGS: dict[str, Any] = COMPOSE["x-settings"]
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()
PROFILES = ("minimal", "standard", "comfortable")
ENDS_BY_ITSELF = {"prepare", "init", "demo"}
OF_CONTAINERS_ALONE = {
    "prepare",
    "init",
    "demo",
    "streaming",
    "spark-master",
    "spark-worker",
    "alertmanager",
    "grafana",
}
"""Services that the native stack does not have, or has as several."""
MOVED = {"spark_ui": 4040}
"""Ports that differ: 8090 is the page of the Spark cluster's master, where natively it is the Bronze writer's."""
WITHOUT_DIGEST = {"nessie"}


class Overriding(yaml.SafeLoader):
    """Reads compose's own tags as what they are put before."""


for tag in ("!reset", "!override"):
    Overriding.add_constructor(tag, lambda loader, node: _plain(loader, node))


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


def in_profile(*profiles: str) -> set[str]:
    return {name for name, service in SERVICES.items() if set(service["profiles"]) & set(profiles)}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings as `prepare` finds them."""
    for name in [name for name in os.environ if name.startswith("LAKE_")]:
        monkeypatch.delenv(name)
    for name, value in {
        **environment.new_secrets(),
        **SETTINGS,
        **environment.choices("standard", is_demo=True),
    }.items():
        monkeypatch.setenv(name, str(value))
    return Settings(state_dir=tmp_path / "state", tools_dir=tmp_path)


@pytest.fixture
def layout(settings: Settings) -> Layout:
    java = Java(Path("/java"), 21)
    return Layout(settings, java, java)


# Who is there


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("demo", [(), ("demo",)], ids=["live", "demo"])
def test_a_profile_holds_all_that_its_services_wait_for(profile, demo):
    there = in_profile(profile, *demo)

    for name in there:
        waits_for = SERVICES[name].get("depends_on", {})
        required = {other for other, how in waits_for.items() if how.get("required", True)}
        assert required <= there, name


def test_the_profiles_grow():
    assert in_profile("minimal") < in_profile("standard") == in_profile("comfortable")
    assert in_profile("demo") == {"replica", "demo"}


def test_every_service_of_the_stack_is_in_the_compose_file(layout: Layout):
    native = {service.name for service in services.of_profile(layout)}
    streaming = {name for name in native if name.startswith(STREAMING)}

    assert native - streaming == set(SERVICES) - OF_CONTAINERS_ALONE
    assert {"bronze-writer", "producer-coinbase"} <= streaming


def test_what_ours_serve_the_stack_knows(layout: Layout):
    known = {service.name for service in (*services.of_profile(layout), *cluster.services(layout))}
    served = {service["command"][1] for service in SERVICES.values() if service.get("command", [""])[0] == "serve"}

    assert served <= known
    assert {"spark-master", "spark-worker", "thrift", "airflow-scheduler"} <= served


# What they agree on


def test_every_endpoint_is_where_the_compose_file_says(settings: Settings):
    for name, field in Settings.model_fields.items():
        if not isinstance(field.default, Endpoint):
            continue
        endpoint = getattr(settings, name)
        assert endpoint.port == MOVED.get(name, field.default.port), name
        assert endpoint.host in SERVICES, name
        assert f"LAKE_{name.upper()}__HOST" in SETTINGS, name


def test_every_setting_of_the_compose_file_is_one():
    for name in SETTINGS:
        field = name.removeprefix("LAKE_").split("__")[0].lower()
        assert field in Settings.model_fields, name


def test_published_and_checked_ports_are_those_of_the_settings(settings: Settings):
    names = [name for name in Settings.model_fields if isinstance(getattr(settings, name), Endpoint)]
    ports = {getattr(settings, name).port for name in names} | {3000, cluster.MASTER_PAGE}

    for service in SERVICES.values():
        for published in service.get("ports", ()):
            _, outer, inner = published.split(":")
            assert outer == inner
            assert int(inner) in ports


@pytest.mark.parametrize(
    ("service", "version"),
    [
        ("kafka", next(jar.version for jar in jars.locked(jars.KAFKA) if jar.artifactId == "kafka_2.13")),
        ("nessie", jars.locked(jars.NESSIE)[0].version),
        ("trino", jars.locked(standard.TRINO)[0].version),
        ("postgres", database.VERSION),
    ],
)
def test_an_image_of_others_has_the_version_of_the_native_service(service, version):
    tag = SERVICES[service]["image"].split("@")[0].rpartition(":")[2]

    assert tag == version or tag.startswith(f"{version}.")


def test_our_images_have_the_version_of_the_project():
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    ours = {service["image"] for service in SERVICES.values() if "build" in service}

    assert ours == {f"crypto-lakehouse/{target}:{version}" for target in ("airflow", "spark", "streaming")}
    assert f"ARG VERSION={version}\n" in DOCKERFILE


def test_the_build_uses_the_uv_of_the_makefile():
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)

    assert f"ARG UV_VERSION={version}\n" in DOCKERFILE


def test_every_target_of_the_compose_file_is_built():
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))

    assert {service["build"]["target"] for service in SERVICES.values() if "build" in service} <= targets


def test_topics_come_from_the_contracts_alone(layout: Layout):
    properties = fill((CHECKOUT / "stack" / "kafka" / "server.properties").read_text(), layout.template_values())

    assert "auto.create.topics.enable=false" in properties
    assert SERVICES["init"]["command"] == ["init"]
    assert [topic.name for topic in TOPICS if topic.name in COMPOSE_TEXT] == []


def test_every_volume_is_where_the_layout_says_and_belongs_to_the_user_of_the_images(layout: Layout):
    prepared = dict(volume.split(":") for volume in SERVICES["prepare"]["volumes"])
    made = set(re.findall(r"/lake/\S+", DOCKERFILE.split("ENV LAKE_STATE_DIR")[0]))

    assert set(prepared) == set(COMPOSE["volumes"])
    for volume, path in prepared.items():
        assert path in made, volume
        kind, _, name = volume.partition("-")
        if kind != "state":
            place = layout.conf(name) if kind == "conf" else layout.data(name)
            assert path == f"/lake/state/{place.relative_to(layout.state)}"
    for name, service in SERVICES.items():
        for mounted in service.get("volumes", ()):
            volume, path, *_ = mounted.split(":")
            assert volume.startswith("./") or prepared[volume] == path, name


def test_every_configuration_that_a_volume_holds_is_rendered(layout: Layout):
    rendered = services.TEMPLATES | standard.TEMPLATES | TEMPLATES
    volumes = {name.removeprefix("conf-") for name in COMPOSE["volumes"] if name.startswith("conf-")}
    values = layout.template_values() | standard.template_values(layout.settings) | container_values(layout.settings)

    assert volumes <= set(rendered)
    for folder, names in rendered.items():
        for name in names:
            fill((CHECKOUT / "stack" / folder / name).read_text(), values)


def test_services_listen_for_others_and_are_found_by_their_names(layout: Layout):
    def rendered(folder: str, name: str) -> str:
        values = layout.template_values() | standard.template_values(layout.settings)
        return fill((CHECKOUT / "stack" / folder / name).read_text(), values)

    kafka = rendered("kafka", "server.properties")
    assert "listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://0.0.0.0:9093" in kafka
    assert "advertised.listeners=PLAINTEXT://kafka:9092" in kafka
    assert "quarkus.http.host=0.0.0.0" in rendered("nessie", "application.properties")
    assert "http://s3:8333" in rendered("spark", "spark-defaults.conf")
    assert "spark.driver.host                                ${env:HOSTNAME}" in rendered(
        "spark", "spark-defaults.conf"
    )
    assert '["alertmanager:9093"]' in rendered("prometheus", "prometheus.yml")
    assert "samenet" in rendered("postgres", "pg_hba.conf")


def test_natively_all_stays_on_one_address(tmp_path: Path):
    java, secrets = Java(Path("/java"), 21), {name.lower()[5:]: "x" for name in first_start.new_secrets()}
    native = Layout(Settings(state_dir=tmp_path, tools_dir=tmp_path, **secrets), java, java)
    values = native.template_values() | standard.template_values(native.settings)

    assert (values["LISTEN_HOST"], values["SPARK_HOST"], values["POSTGRES_SOCKETS"]) == ("127.0.0.1", "127.0.0.1", "")
    assert values["ALERTS"] == values["METRICS"]
    assert native.settings.listening(native.settings.trino) == native.settings.trino


def test_the_connection_alone_decides_where_jobs_run(layout: Layout):
    assert f'"host":"{sizes.CLUSTER}"' in console.environment(layout)["AIRFLOW_CONN_SPARK_DEFAULT"]
    assert "spark.master" not in (CHECKOUT / "dags" / "trades_hourly.py").read_text()


# How they are kept in bounds


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bounded_and_looked_at(name):
    service = SERVICES[name]

    assert service["mem_limit"]
    assert service["cpus"]
    assert service["restart"] == ("no" if name in ENDS_BY_ITSELF else "unless-stopped")
    assert service["user"] == "10001:10001"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    if name in ENDS_BY_ITSELF:
        assert service["healthcheck"] == {"disable": True}
    else:
        assert {"test", "interval", "timeout", "retries", "start_period"} == set(service["healthcheck"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_published_on_this_machine_alone(name):
    service = SERVICES[name]

    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert "network_mode" not in service
    assert "privileged" not in service
    assert not any("docker.sock" in volume for volume in service.get("volumes", ()))
    assert "lake" in service["networks"]
    if service.get("ports"):
        assert "outside" in service["networks"]


def test_the_inner_network_leads_nowhere():
    assert COMPOSE["networks"]["lake"] == {"internal": True}


@pytest.mark.parametrize("name", sorted(name for name, service in SERVICES.items() if "build" not in service))
def test_an_image_of_others_is_pinned(name):
    image = SERVICES[name]["image"]

    if name in WITHOUT_DIGEST:
        assert re.fullmatch(r"\S+:\d+\.\d+\.\d+", image)
    else:
        assert re.fullmatch(r"\S+:v?\d+(\.\d+)*@sha256:[0-9a-f]{64}", image)


def test_the_base_of_our_images_is_pinned():
    assert re.search(r"^ARG BASE=\S+:\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize(
    ("profile", "least", "most"), [("minimal", 8, 14), ("standard", 16, 26), ("comfortable", 32, 48)]
)
def test_a_profile_fits_the_machine_that_it_is_for(profile, least, most):
    together = sum(
        size.memory * (sizes.WORKERS[profile] if name == "spark-worker" else 1)
        for name, size in sizes.PROFILES[profile].items()
    )

    assert least <= together / 1024 <= most


@pytest.mark.parametrize("profile", PROFILES)
def test_a_heap_leaves_room_in_its_container(profile):
    for name, size in sizes.PROFILES[profile].items():
        for heap, mebibytes in size.heaps.items():
            assert heap in Heaps.model_fields
            # A job shares its container with Airflow's tasks.
            assert mebibytes + 200 <= size.memory, name


def test_every_long_lived_service_has_a_size():
    assert set(sizes.COMFORTABLE) == set(SERVICES) - ENDS_BY_ITSELF


def test_without_an_environment_file_the_sizes_are_those_of_the_smallest_profile_that_has_them():
    found = dict(re.findall(r"\$\{(\w+):-([^}]+)\}", COMPOSE_TEXT))
    wanted = sizes.variables("standard") | sizes.variables("minimal")

    assert {name: value for name, value in found.items() if name != "ENV_FILE"}.items() <= wanted.items()
    sized = {name for name in wanted if name.endswith(("_MEMORY", "_CPUS")) and not name.startswith("LAKE_")}
    assert sized <= set(found)


# The environment file


def test_secrets_are_made_once_and_a_profile_is_chosen_again(tmp_path: Path):
    path = tmp_path / ".env"
    assert environment.write(path, "standard", is_demo=False)
    first = first_start.read(path)
    assert not environment.write(path, "minimal", is_demo=True)
    second = first_start.read(path)

    secrets = environment.new_secrets().keys()
    assert {name: first[name] for name in secrets} == {name: second[name] for name in secrets}
    assert (first["COMPOSE_PROFILES"], second["COMPOSE_PROFILES"]) == ("standard", "minimal,demo")
    assert (first["LAKE_SPARK_MASTER"], second["LAKE_SPARK_MASTER"]) == (sizes.CLUSTER, "local[2]")
    assert "TRINO_MEMORY" not in second
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_a_person_added_to_the_environment_file_stays(tmp_path: Path):
    path = tmp_path / ".env"
    path.write_text('LAKE_FOLLOW_BYBIT="true"\n')
    environment.write(path, "minimal", is_demo=False)

    assert first_start.read(path)["LAKE_FOLLOW_BYBIT"] == "true"


def test_the_example_is_current():
    path = CHECKOUT / ".env.example"
    update = "python -m stack.containers.environment --example > .env.example"

    assert path.read_text() == environment.example(), f"it is stale: run `{update}`"


def test_the_environment_file_is_made_before_anything_is_installed(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-S", "-m", "stack.containers.environment", "--path", str(tmp_path / ".env")],
        cwd=CHECKOUT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert "with new secrets" in done.stdout


def test_the_environment_file_is_neither_committed_nor_sent_to_a_build():
    ignored = (CHECKOUT / ".gitignore").read_text().splitlines()
    sent = [line for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    assert ".env" in ignored
    assert not any(".env" in line for line in sent)


# The stand-ins


def test_the_stand_ins_are_for_services_of_the_compose_file(layout: Layout):
    standing_in: dict[str, Any] = yaml.load(
        (CHECKOUT / "stack" / "containers" / "standing-in.yml").read_text(), Overriding
    )
    known = {service.name for service in services.of_profile(layout)}

    for name, service in standing_in["services"].items():
        assert name in SERVICES
        assert service["command"] == ["serve", name]
        assert name in known
        assert service["build"]["target"] == "servers"
        assert not service.get("ports")


# The streaming container


@pytest.fixture
def own() -> OwnContainer:
    port = free_ports()["kafka"]
    return OwnContainer(Endpoint(port=port), "a password")


def test_in_its_container_supervisord_stays_in_the_foreground_and_starts_all(layout: Layout, own, tmp_path: Path):
    layout.logs.mkdir(parents=True)
    layout.run.mkdir(parents=True)
    path = tmp_path / "supervisord.conf"
    path.write_text(configuration(layout, [Service("a", "", ("true",), lambda: True)], {}, own))

    options = ServerOptions()
    options.realize(["-c", str(path)])
    (group,) = options.process_group_configs
    (program,) = group.process_configs

    assert options.nodaemon
    assert (program.autostart, program.stdout_logfile) == (True, "/dev/stdout")
    assert [server["family"].name for server in options.server_configs] == ["AF_INET"]


@pytest.fixture
def container(settings: Settings, layout: Layout, own: OwnContainer) -> Iterator[Settings]:
    """A supervisord that is asked over the network, and the settings of who asks."""
    for folder in (layout.logs, layout.run, layout.conf("")):
        folder.mkdir(parents=True, exist_ok=True)
    path = layout.conf("supervisord.conf")
    path.write_text(configuration(layout, [Service("sleeper", "", ("sleep", "600"), lambda: True)], {}, own))
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(path)], cwd=CHECKOUT, stdout=subprocess.DEVNULL
    )
    asking = settings.model_copy(update={"supervisor": own.listens, "supervisor_password": _secret(own.password)})
    try:
        eventually(lambda: Supervisord.of(asking).is_running, within=20, what="supervisord")
        yield asking
    finally:
        process.terminate()
        process.wait(timeout=30)


def _secret(text: str) -> Any:
    return Settings(s3_secret_key=text).s3_secret_key


def test_a_service_is_stopped_and_started_over_the_network_as_over_the_socket(container: Settings):
    supervisord = Supervisord.of(container)
    eventually(lambda: supervisord.names_up() == {"sleeper"}, within=10, what="the service")

    supervisord.stop("sleeper")
    assert supervisord.names_up() == set()
    supervisord.launch("sleeper")
    assert supervisord.names_up() == {"sleeper"}


def test_without_the_password_nothing_is_told(container: Settings):
    stranger = Supervisord.of(container.model_copy(update={"supervisor_password": _secret("a guess")}))

    with pytest.raises(xmlrpc.client.ProtocolError, match="401"):
        stranger.processes()


def test_an_address_without_a_password_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="LAKE_SUPERVISOR_PASSWORD"):
        Supervisord.of(Settings(state_dir=tmp_path, supervisor=Endpoint(port=9001), supervisor_password=None))


# The health checks


class _Answers(BaseHTTPRequestHandler):
    answers: Mapping[str, tuple[int, str]] = {
        "/well": (200, '{"scheduler": {"status": "healthy"}, "triggerer": {"status": "unhealthy"}}'),
        "/refused": (403, ""),
        "/broken": (500, ""),
    }

    def do_GET(self) -> None:
        status, body = self.answers[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    served = HTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield f"127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()
    thread.join()


@pytest.mark.parametrize("path", ["http://{}/well", "http://{}/refused", "http://{}/well#scheduler", "tcp://{}"])
def test_what_answers_is_healthy(server, path):
    assert healthy.is_healthy(path.format(server))


@pytest.mark.parametrize(
    "path", ["http://{}/broken", "http://{}/well#triggerer", "http://{}/well#nobody", "http://{}/refused#scheduler"]
)
def test_what_answers_badly_is_not(server, path):
    assert not healthy.is_healthy(path.format(server))


def test_what_does_not_answer_is_not_healthy():
    port = free_ports()["kafka"]

    assert not healthy.is_healthy(f"tcp://127.0.0.1:{port}")

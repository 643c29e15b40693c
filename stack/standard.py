"""What the standard profile adds: Trino, on a Java runtime of the machine or one brought for it, and the metrics.

Prometheus keeps them and judges them by `prometheus/rules`; the service `metrics` tells what no other one can; an agent
in each Java process tells of that.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cjdk
from rich.progress import Progress

from include.contracts.bronze import TRADES
from include.settings import CHECKOUT, Endpoint, Settings
from stack import jars, java, probes
from stack.class_archive import SPARK_OPTIONS
from stack.failures import StackError
from stack.jars import JarSet
from stack.java import Java
from stack.layout import Layout
from stack.service import Service

TRINO = JarSet("trino", jars.STACK / "trino")
JMX = JarSet("jmx", jars.STACK / "jmx")
PLUGINS = ("iceberg", "tpch")
"""Of Trino's plugins, those that are kept: all of them are two gigabytes."""
VECTOR_MODULE = "jdk.incubator.vector"
"""A part of Java that Trino needs and that small runtimes lack."""
BROUGHT = "25"
"""The Java version that is brought if the machine has none that Trino can use."""

RULES = CHECKOUT / "stack" / "prometheus" / "rules"
"""Not a template: what its alerts say has `$`s of its own."""

TEMPLATES = {
    "trino": ("config.properties", "node.properties", "log.properties", "jvm.config", "catalog/lake.properties"),
    "prometheus": ("prometheus.yml",),
    "jmx": ("jvm.yml", "kafka.yml"),
}


@dataclass(frozen=True, slots=True)
class Agent:
    """What tells Prometheus of a Java process from within.

    Args:
        endpoint: The setting that says where.
        conf: What it tells besides memory, collections and threads.
    """

    endpoint: str
    conf: str = "jvm.yml"


AGENTS: Mapping[str, Agent] = {
    "kafka": Agent("kafka_jmx", "kafka.yml"),
    "s3": Agent("s3_jmx"),
    "thrift": Agent("thrift_jmx"),
    "bronze-writer": Agent("bronze_jmx"),
    "trino": Agent("trino_jmx"),
}
"""Service → its agent. Nessie tells of itself. Trino could too, a megabyte each time."""


def bring(settings: Settings, progress: Progress) -> None:
    """Bring Trino, the Java runtime that it needs, and what the metrics need; costs nothing when they are there.

    Raises:
        StackError: If one of them cannot be had; it says what to install by hand.
    """
    jars.fetch((JMX,), settings.tools_dir, progress)
    bring_prometheus(settings.tools_dir)
    if trino_java(settings.tools_dir) is None:
        _bring_java(settings.tools_dir)
    home = trino_home(settings.tools_dir)
    if home.exists():
        return
    jars.fetch((TRINO,), settings.tools_dir, progress)
    (archive,) = TRINO.files(settings.tools_dir)
    task = progress.add_task("unpacking Trino", total=None)
    beside = home.with_name(f".{home.name}.incoming")
    shutil.rmtree(beside, ignore_errors=True)
    unpack(archive, beside)
    beside.replace(home)
    progress.remove_task(task)
    shutil.rmtree(archive.parent)


def trino_home(tools_dir: Path) -> Path:
    """Say where Trino of the locked version lies; another version has another folder."""
    (jar,) = jars.locked(TRINO)
    return tools_dir / f"trino-{jar.version}"


def unpack(archive: Path, folder: Path) -> None:
    """Unpack Trino's archive and remove the plugins that are not used."""
    around = folder.with_name(f"{folder.name}.around")
    shutil.rmtree(around, ignore_errors=True)
    # All of it first: the archive stores a file that plugins share once, with any of them.
    with tarfile.open(archive) as tar:
        tar.extractall(around, filter="data")
    (inside,) = around.iterdir()
    for plugin in (inside / "plugin").iterdir():
        if plugin.name not in PLUGINS:
            shutil.rmtree(plugin)
    inside.replace(folder)
    around.rmdir()


def trino_java(tools_dir: Path) -> Java | None:
    """Return a Java runtime that Trino can use; None if there is none yet."""
    brought = tools_dir / "jdk-trino"
    homes = [*java.candidates(os.environ), *([brought.resolve()] if brought.exists() else [])]
    usable = [found for found in java.installed(homes) if found.version >= java.TRINO and has_vectors(found)]
    return max(usable, key=lambda found: found.version, default=None)


def has_vectors(runtime: Java) -> bool:
    """Whether a runtime has the module that Trino needs."""
    return VECTOR_MODULE in (runtime.home / "release").read_text()


def _bring_java(tools_dir: Path) -> None:
    try:
        home = cjdk.java_home(vendor="temurin", version=BROUGHT, cache_dir=tools_dir / "cjdk")
    except cjdk.CjdkError as error:
        raise StackError(
            f"Trino needs Java {java.TRINO} or newer; the machine has none, and none could be brought: install one "
            "(for example Temurin 25), or use PROFILE=minimal."
        ) from error
    (tools_dir / "jdk-trino").symlink_to(home)


def services(layout: Layout) -> list[Service]:
    """List what the standard profile adds to the minimal one."""
    return [trino(layout), metrics(layout), prometheus(layout)]


def watched(layout: Layout, service: Service) -> Service:
    """Give a Java service its agent; others stay as they are."""
    agent = AGENTS.get(service.name)
    if agent is None:
        return service
    option = agent_option(layout, agent)
    endpoint: Endpoint = getattr(layout.settings, agent.endpoint)
    seen = replace(service, reads=(*service.reads, "jmx"), ports=(*service.ports, endpoint))
    if "spark" in service.reads:
        options = f"{service.environment.get(SPARK_OPTIONS, '')} {option}".strip()
        return replace(seen, environment={**service.environment, SPARK_OPTIONS: options})
    binary, *words = service.command
    through_launcher = ("-J",) if service.name == "trino" else ()
    return replace(seen, command=(binary, *through_launcher, option, *words))


def agent_option(layout: Layout, agent: Agent) -> str:
    """Return the option of Java that loads an agent."""
    (jar,) = JMX.files(layout.settings.tools_dir)
    address = layout.settings.listening(getattr(layout.settings, agent.endpoint)).address
    return f"-javaagent:{jar}={address}:{layout.conf('jmx') / agent.conf}"


def trino(layout: Layout) -> Service:
    """The SQL engine for people's own questions."""
    settings = layout.settings
    runtime = trino_java(settings.tools_dir)
    home = runtime.home if runtime else settings.tools_dir / "jdk-trino"
    return Service(
        "trino",
        "SQL for your own questions",
        (
            str(trino_home(settings.tools_dir) / "bin" / "launcher"),
            "--etc-dir", str(layout.conf("trino")),
            "run",
        ),
        lambda: answers(settings.trino, f"SELECT count(*) FROM {settings.catalog}.{TRADES.full_name} WHERE false"),
        after=("nessie", "s3", "tables"),
        environment={"JAVA_HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ.get('PATH', os.defpath)}"},
        reads=("trino",),
        ports=(settings.trino,),
        prepare=lambda: layout.data("trino").mkdir(parents=True, exist_ok=True),
        stop_seconds=40,
        patience=240,
    )  # fmt: skip


def answers(endpoint: Endpoint, query: str) -> bool:
    """Whether Trino can run a query over a table; it answers others before its catalogs are ready."""
    request = urllib.request.Request(
        f"{endpoint.url}/v1/statement", data=query.encode(), headers={"X-Trino-User": "stack"}
    )
    try:
        while True:
            with probes.here(request, timeout=probes.SECONDS) as response:
                page = json.load(response)
            if "error" in page:
                return False
            if "nextUri" not in page:
                return True
            request = urllib.request.Request(page["nextUri"], headers={"X-Trino-User": "stack"})
    except (OSError, ValueError):
        return False


def metrics(layout: Layout) -> Service:
    """What no other service tells: the store, the backlog in Kafka, publications, Airflow's tasks."""
    endpoint = layout.settings.metrics
    return Service(
        "metrics",
        "the lake's own metrics, and Airflow's",
        (sys.executable, "-m", "stack.metrics"),
        probes.http(f"{endpoint.url}/metrics"),
        reads=("settings",),
        ports=(endpoint,),
    )


def prometheus(layout: Layout) -> Service:
    """Keeps the metrics of what runs, and judges them."""
    endpoint = layout.settings.prometheus
    return Service(
        "prometheus",
        "metrics of the last week, alerts",
        (
            str(prometheus_binary("prometheus", layout.settings.tools_dir) or "prometheus"),
            f"--config.file={layout.conf('prometheus') / 'prometheus.yml'}",
            f"--storage.tsdb.path={layout.data('prometheus')}",
            "--storage.tsdb.retention.time=7d",
            f"--web.listen-address={layout.settings.listening(endpoint).address}",
            "--log.level=warn",
        ),
        probes.http(f"{endpoint.url}/-/ready"),
        reads=("prometheus",),
        ports=(endpoint,),
        prepare=lambda: layout.data("prometheus").mkdir(parents=True, exist_ok=True),
    )


def template_values(settings: Settings) -> dict[str, str]:
    """Return what the configuration of Prometheus may name, besides what that of all services may."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(RULES.glob("*.yml")))).hexdigest()
    agents = {agent.endpoint: getattr(settings, agent.endpoint).address for agent in AGENTS.values()}
    return {
        "PROMETHEUS_RULES": str(RULES / "*.yml"),
        "PROMETHEUS_RULES_DIGEST": digest[:16],
        "BRONZE_METRICS": settings.bronze_metrics.address,
        "METRICS": settings.metrics.address,
        "ALERTS": (settings.alertmanager or settings.metrics).address,
        "NESSIE_MANAGEMENT": settings.nessie_management.address,
    } | {name.upper(): address for name, address in agents.items()}


def prometheus_binary(name: str, tools_dir: Path) -> Path | None:
    """Return `prometheus` or `promtool`: the machine's, else the one that was brought; None if there is neither."""
    found = shutil.which(name)
    brought = tools_dir / "prometheus" / "usr" / "bin" / name
    return Path(found) if found else brought if brought.exists() else None


def bring_prometheus(tools_dir: Path, wanted: str = "prometheus") -> None:
    """Bring Prometheus and promtool as Debian packs them, unless the wanted one is there; nothing is installed.

    Raises:
        StackError: If they cannot be had; it says what to install by hand.
    """
    if prometheus_binary(wanted, tools_dir):
        return
    beside = tools_dir / ".prometheus.incoming"
    shutil.rmtree(beside, ignore_errors=True)
    for folder in ("state/lists/partial", "cache/archives/partial", "package"):
        (beside / folder).mkdir(parents=True)
    # Lists of its own: the machine's may be missing or old, and belong to root. The packages' signatures are checked.
    options = ("State", beside / "state"), ("State::status", "/var/lib/dpkg/status"), ("Cache", beside / "cache")
    apt = ["apt-get", "--quiet", *(word for name, path in options for word in ("-o", f"Dir::{name}={path}"))]
    try:
        for command in ([*apt, "update"], [*apt, "download", "prometheus"]):
            subprocess.run(command, cwd=beside / "package", capture_output=True, text=True, check=True)
        (package,) = (beside / "package").glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, beside / "root"], capture_output=True, text=True, check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise StackError(
            f"{wanted} is not on this machine and Debian's package of it cannot be had "
            f"({said.strip().splitlines()[-1]}): install Prometheus with promtool, or use PROFILE=minimal."
        ) from error
    shutil.rmtree(tools_dir / "prometheus", ignore_errors=True)
    (beside / "root").replace(tools_dir / "prometheus")
    shutil.rmtree(beside)

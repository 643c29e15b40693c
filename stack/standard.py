"""What the standard profile adds: Trino, on a Java runtime of the machine or one brought for it, and Prometheus."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import urllib.request
from pathlib import Path

import cjdk
from rich.progress import Progress

from include.contracts.bronze import TRADES
from include.settings import Endpoint, Settings
from stack import jars, java, probes
from stack.failures import StackError
from stack.jars import JarSet
from stack.java import Java
from stack.layout import Layout
from stack.service import Service

TRINO = JarSet("trino", jars.STACK / "trino")
PLUGINS = ("iceberg", "tpch")
"""Of Trino's plugins, those that are kept: all of them are two gigabytes."""
VECTOR_MODULE = "jdk.incubator.vector"
"""A part of Java that Trino needs and that small runtimes lack."""
BROUGHT = "25"
"""The Java version that is brought if the machine has none that Trino can use."""

TEMPLATES = {
    "trino": ("config.properties", "node.properties", "log.properties", "jvm.config", "catalog/lake.properties"),
    "prometheus": ("prometheus.yml",),
}


def bring(settings: Settings, progress: Progress) -> None:
    """Bring Trino and the Java runtime that it needs; costs nothing when they are there.

    Raises:
        StackError: If one of them cannot be had; it says what to install by hand.
    """
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
    return [trino(layout), *([prometheus(layout)] if prometheus_binary() else [])]


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


def prometheus(layout: Layout) -> Service:
    """Keeps the metrics of what runs."""
    endpoint = layout.settings.prometheus
    return Service(
        "prometheus",
        "metrics of the last week",
        (
            prometheus_binary() or "prometheus",
            f"--config.file={layout.conf('prometheus') / 'prometheus.yml'}",
            f"--storage.tsdb.path={layout.data('prometheus')}",
            "--storage.tsdb.retention.time=7d",
            f"--web.listen-address={endpoint.address}",
            "--log.level=warn",
        ),
        probes.http(f"{endpoint.url}/-/ready"),
        reads=("prometheus",),
        ports=(endpoint,),
        prepare=lambda: layout.data("prometheus").mkdir(parents=True, exist_ok=True),
    )


def prometheus_binary() -> str | None:
    """Return the machine's Prometheus; None if it has none."""
    return shutil.which("prometheus")

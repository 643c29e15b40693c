"""Where a stack keeps its things, and what its processes are told."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from include.settings import CHECKOUT, Settings
from stack import jars
from stack.java import Java

FOREIGN = (
    "AIRFLOW_", "SPARK_", "PYSPARK_", "PYTHON", "JAVA_", "DBT_", "OTEL_", "SUPERVISOR_", "CLASSPATH", "VIRTUAL_ENV",
)  # fmt: skip
"""Beginnings of variables of the user's shell that would change what a service does."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one stack, its Java runtimes and the environment of its processes."""

    settings: Settings
    spark_java: Java
    server_java: Java

    @property
    def state(self) -> Path:
        """All that the stack writes."""
        return self.settings.state_dir

    @property
    def run(self) -> Path:
        """Process ids, sockets, what the initialisation has done."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        """One log per service, with rotation."""
        return self.state / "logs"

    @property
    def temporary(self) -> Path:
        """What processes need only while they run; emptied whenever the stack starts."""
        return self.state / "tmp"

    def conf(self, service: str) -> Path:
        """The rendered configuration of one service."""
        return self.state / "conf" / service

    def data(self, service: str) -> Path:
        """What one service keeps."""
        return self.state / "data" / service

    def jars(self, jar_set: jars.JarSet) -> Path:
        """The jars of one set."""
        return jar_set.folder(self.settings.tools_dir)

    @property
    def bin(self) -> Path:
        """The commands of the Python environment."""
        return Path(sysconfig.get_path("scripts"))

    def environment(self) -> dict[str, str]:
        """Return what every process of the stack is told, over a shell's environment without what is foreign."""
        return {
            "LAKE_STATE_DIR": str(self.state),
            "LAKE_TOOLS_DIR": str(self.settings.tools_dir),
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONUNBUFFERED": "1",
            "PATH": f"{self.bin}:{os.environ.get('PATH', os.defpath)}",
            "JAVA_HOME": str(self.spark_java.home),
            "SPARK_CONF_DIR": str(self.conf("spark")),
            "SPARK_LOCAL_IP": self.settings.listen_host or self.settings.thrift.host,
            # glibc's arenas cost each JVM some hundred megabytes.
            "MALLOC_ARENA_MAX": "2",
            # A process that renames itself would overwrite the variables by which it is known as ours.
            "SPT_NOENV": "1",
            "TZ": "UTC",
            "DO_NOT_TRACK": "1",
        }

    def template_values(self) -> dict[str, str]:
        """Return what the configuration templates of all services may name."""
        settings = self.settings
        return {
            "LISTEN_HOST": settings.listen_host or "127.0.0.1",
            "KAFKA_HOST": settings.kafka.host,
            "KAFKA_PORT": str(settings.kafka.port),
            "KAFKA_CONTROLLER_HOST": settings.kafka_controller.host,
            "KAFKA_CONTROLLER_PORT": str(settings.kafka_controller.port),
            "KAFKA_DATA": str(self.data("kafka")),
            "S3_PORT": str((settings.s3_server or settings.s3).port),
            "S3_URL": settings.s3.url,
            "S3_ACCESS_KEY": revealed(settings, "s3_access_key"),
            "S3_SECRET_KEY": revealed(settings, "s3_secret_key"),
            "S3_DATA": str(self.data("s3")),
            "NESSIE_PORT": str((settings.nessie_server or settings.nessie).port),
            "NESSIE_MANAGEMENT_PORT": str(settings.nessie_management.port),
            "NESSIE_DATA": str(self.data("nessie")),
            "NESSIE_API": settings.nessie_api,
            "NESSIE_ICEBERG": settings.nessie_iceberg(settings.branch),
            "BRANCH": settings.branch,
            "CATALOG": settings.catalog,
            "WAREHOUSE": settings.warehouse,
            "POSTGRES_PORT": str(settings.postgres.port),
            "POSTGRES_DATA": str(self.data("postgres")),
            "POSTGRES_CONF": str(self.conf("postgres")),
            "POSTGRES_CLIENTS": "samenet" if settings.listen_host else "127.0.0.1/32",
            "POSTGRES_SOCKETS": "/var/run/postgresql" if settings.listen_host else "",
            # Of several machines each names itself: executors call back to the one on which their driver runs.
            "SPARK_HOST": "${env:HOSTNAME}" if settings.listen_host else settings.thrift.host,
            "SPARK_JOB_HEAP": settings.heaps.job,
            "SPARK_EXECUTOR_HEAP": settings.heaps.executor,
            "SPARK_JARS": str(self.jars(jars.SPARK)),
            "SPARK_JAVA_HOME": str(self.spark_java.home),
            "SPARK_SCRATCH": str(self.data("spark")),
            "TEMPORARY": str(self.temporary),
            "PYTHON": sys.executable,
            "TRINO_HOST": settings.trino.host,
            "TRINO_PORT": str(settings.trino.port),
            "TRINO_DATA": str(self.data("trino")),
            "TRINO_HEAP": settings.heaps.trino,
            "TRINO_QUERY_MEMORY": settings.trino_query_memory,
            "PRODUCER_METRICS": settings.producer_metrics.address,
            "BYBIT_METRICS": f'["{settings.bybit_metrics.address}"]' if settings.follow_bybit else "[]",
            "COINGECKO_METRICS": f'["{settings.coingecko_metrics.address}"]' if settings.follow_coingecko else "[]",
            "PROMETHEUS": settings.prometheus.address,
        }


def revealed(settings: Settings, secret: str) -> str:
    """Return a secret as text.

    Raises:
        LookupError: If the stack has not made its secrets yet.
    """
    value = getattr(settings, secret)
    if value is None:
        raise LookupError(f"{secret} has not been made yet")
    text: str = value.get_secret_value()
    return text


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of a shell's environment that a command of the stack may see."""
    return {name: value for name, value in environment.items() if not name.startswith(FOREIGN)}

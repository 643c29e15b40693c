"""What a lake needs before anything can flow: each step may be run again and then only mends what is missing."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import Future
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.fs
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from pyhive import hive

from include.contracts import TOPICS
from include.contracts.topics import Topic
from include.renderers import iceberg
from include.settings import CHECKOUT, Settings
from stack import class_archive, console, database
from stack.failures import StackError
from stack.layout import Layout, inherited, revealed
from stack.service import Step

SECONDS = 30.0
"""How long Kafka may take to change a topic."""
LARGEST_RECORD = 8 * 1024 * 1024
"""Bytes. The exchange's list of all products and currencies is one frame."""


def steps(layout: Layout) -> list[Step]:
    """List the steps of the initialisation."""
    settings = layout.settings
    password = revealed(settings, "postgres_password")
    return [
        Step(
            "spark-classes",
            "an archive of Spark's classes, once for all stacks",
            lambda: class_archive.bring(layout),
            lambda: f"{class_archive.path(layout)} {class_archive.path(layout).exists()}",
        ),
        Step("bucket", "the bucket", lambda: create_bucket(settings), lambda: settings.bucket, after=("s3",)),
        Step("topics", "the topics", lambda: create_topics(settings), lambda: repr(TOPICS), after=("kafka",)),
        Step(
            "tables",
            "namespaces and tables",
            lambda: create_tables(settings),
            lambda: "\n".join(iceberg.create_all(settings.catalog)),
            after=("thrift", "nessie", "bucket"),
        ),
        Step(
            "airflow-db",
            "Airflow's database",
            lambda: migrate_airflow(layout, password),
            lambda: version("apache-airflow"),
            after=("postgres",),
        ),
        Step("dbt-manifest", "dbt's manifest", lambda: run_dbt(layout, "parse"), dbt_sources),
        Step(
            "dbt-docs",
            "dbt's documentation",
            lambda: run_dbt(layout, "docs", "generate", "--no-compile"),
            dbt_sources,
            after=("tables", "dbt-manifest"),
        ),
    ]


def create_bucket(settings: Settings) -> None:
    """Make the bucket, unless it is there."""
    store = pyarrow.fs.S3FileSystem(
        access_key=revealed(settings, "s3_access_key"),
        secret_key=revealed(settings, "s3_secret_key"),
        endpoint_override=settings.s3.url,
        region="us-east-1",
        allow_bucket_creation=True,
    )
    store.create_dir(settings.bucket)


def topic_configuration(topic: Topic) -> dict[str, str]:
    """Return the configuration that a topic has."""
    # Only closed segments are compacted, small records take weeks to fill one, and watchers read all that is there.
    keeping = {"cleanup.policy": "compact", "segment.ms": str(60 * 60 * 1000)} if topic.compacted else {
        "cleanup.policy": "delete",
        "retention.ms": str(int(topic.retention.total_seconds() * 1000)),
    }  # fmt: skip
    return keeping | {"max.message.bytes": str(LARGEST_RECORD)}


def create_topics(settings: Settings) -> None:
    """Make the topics of the contracts, and give those that are there their configuration and width.

    Raises:
        StackError: If a topic has more partitions than it should: Kafka cannot take any away.
    """
    admin = AdminClient({"bootstrap.servers": settings.kafka.address, "log_level": 0})
    there = admin.list_topics(timeout=SECONDS).topics
    missing = [topic for topic in TOPICS if topic.name not in there]
    _settle(
        admin.create_topics(
            [NewTopic(topic.name, topic.partitions, 1, config=topic_configuration(topic)) for topic in missing]
        ) if missing else {}
    )  # fmt: skip
    wider = []
    for topic in (topic for topic in TOPICS if topic.name in there):
        width = len(there[topic.name].partitions)
        if width > topic.partitions:
            raise StackError(f"Topic {topic.name} has {width} partitions, its contract says {topic.partitions}: fewer "
                             "would lose records, so raise the contract.")  # fmt: skip
        if width < topic.partitions:
            wider.append(NewPartitions(topic.name, topic.partitions))
    if wider:
        _settle(admin.create_partitions(wider))
    changes = [
        ConfigResource(
            ResourceType.TOPIC,
            topic.name,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in topic_configuration(topic).items()
            ],
        )
        for topic in TOPICS
        if topic.name in there
    ]
    if changes:
        _settle(admin.incremental_alter_configs(changes))


def create_tables(settings: Settings) -> None:
    """Make the namespaces and tables that are missing, over the Thrift server."""
    connection = hive.connect(host=settings.thrift.host, port=settings.thrift.port)
    try:
        cursor = connection.cursor()
        for statement in iceberg.create_all(settings.catalog):
            cursor.execute(statement)
    finally:
        connection.close()


def migrate_airflow(layout: Layout, password: str) -> None:
    """Make Airflow's database and bring its tables to the version that is installed."""
    database.create_database(layout.settings.postgres, password)
    _run(layout, [str(layout.bin / "airflow"), "db", "migrate"], console.environment(layout), "airflow-db")


def run_dbt(layout: Layout, *words: str) -> None:
    """Run one command of dbt over the project."""
    environment = layout.environment() | console.dbt_environment(layout) | {"LAKE_HOUR": "2000-01-01T00"}
    _run(layout, [str(layout.bin / "dbt"), *words], environment, "dbt")


def dbt_sources() -> str:
    """Return one hash over all files of the dbt project."""
    digest = hashlib.sha256()
    for path in sorted((CHECKOUT / "dbt_project").rglob("*")):
        if path.is_file() and path.suffix in (".sql", ".yml", ".yaml", ".md", ".csv"):
            digest.update(str(path.relative_to(CHECKOUT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _settle(futures: Mapping[Any, Future[Any]]) -> None:
    """Wait for all answers of Kafka's admin client.

    Raises:
        StackError: If one of them is a refusal.
    """
    for subject, future in futures.items():
        try:
            future.result(timeout=SECONDS)
        except KafkaException as refused:
            raise StackError(f"Kafka refused to change {subject}: {refused}.") from refused


def _run(layout: Layout, command: list[str], environment: Mapping[str, str], log_name: str) -> None:
    """Run a command to its end, its output in a log.

    Raises:
        StackError: If it fails; with its last words and where to find all of them.
    """
    log = layout.logs / f"init-{log_name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        done = subprocess.run(
            command, env=inherited(os.environ) | dict(environment), cwd=CHECKOUT, stdout=output,
            stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise StackError(f"`{Path(command[0]).name} {' '.join(command[1:3])}` failed: {last_words(log)} See {log}.")


def last_words(log: Path, lines: int = 3) -> str:
    """Return the end of a log, in one line."""
    if not log.exists():
        return "It left no log."
    written = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(written[-lines:]) if written else "Its log is empty."

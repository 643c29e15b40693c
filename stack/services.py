"""The services of a stack, as data: what runs, how, after what, and how one sees that it works."""

from __future__ import annotations

import base64
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from include.contracts import bronze
from include.settings import CHECKOUT, Endpoint, Settings
from stack import class_archive, console, database, jars, java, probes, standard
from stack.failures import StackError
from stack.layout import Layout, revealed
from stack.metrics import reporting
from stack.service import Service

SMALL_JVM = ("-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-XX:ReservedCodeCacheSize=64m", "-Xss512k")

STREAMING_CHECKPOINTS = "spark.sql.streaming.checkpointFileManagerClass"
ABORTABLE = "org.apache.spark.internal.io.cloud.AbortableStreamBasedCheckpointFileManager"
"""Writes a checkpoint's file to an object store by one upload, which a failure leaves without effect."""
RENAMING = "org.apache.spark.sql.execution.streaming.FileSystemBasedCheckpointFileManager"
"""Renames a file on a disk by a system call. Spark's default asks the program `readlink` some ten times a batch."""

TEMPLATES = {
    "kafka": ("server.properties", "log4j2.properties"),
    "s3": ("s3proxy.conf",),
    "nessie": ("application.properties",),
    "spark": ("spark-defaults.conf", "log4j2.properties", "spark-env.sh"),
    "postgres": ("postgresql.conf", "pg_hba.conf"),
}
"""Folder under `stack/` → its configuration templates."""


def server_jvm(layout: Layout, heap: str) -> tuple[str, ...]:
    """Return the beginning of a server's command: Java with a small footprint."""
    return (str(layout.server_java.binary), f"-Xmx{heap}", *SMALL_JVM, f"-Djava.io.tmpdir={layout.temporary}")


def templates(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the configuration templates of the chosen profile."""
    return TEMPLATES | standard.TEMPLATES if settings.profile == "standard" else TEMPLATES


def of_profile(layout: Layout) -> list[Service]:
    """List the services of the chosen profile."""
    if layout.settings.profile == "minimal":
        return minimal(layout)
    return [standard.watched(layout, service) for service in minimal(layout) + standard.services(layout)]


def minimal(layout: Layout) -> list[Service]:
    """List the services of the smallest whole lake."""
    return [
        postgres(layout),
        kafka(layout),
        s3(layout),
        nessie(layout),
        thrift(layout),
        bronze_writer(layout),
        *([replica(layout)] if layout.settings.exchange == "replica" else []),
        producer_coinbase(layout),
        *([producer_bybit(layout)] if layout.settings.follow_bybit else []),
        *([producer_coingecko(layout)] if layout.settings.follow_coingecko else []),
        *airflow(layout),
    ]


def postgres(layout: Layout) -> Service:
    """Airflow's database."""
    endpoint, data = layout.settings.postgres, layout.data("postgres")
    password = revealed(layout.settings, "postgres_password")
    return Service(
        "postgres",
        "Airflow's database",
        (
            *database.as_unprivileged(),
            str(database.binary("postgres")),
            "-D", str(data),
            "-c", f"config_file={layout.conf('postgres') / 'postgresql.conf'}",
        ),
        probes.postgres(endpoint, database.USER, password),
        reads=("postgres",),
        ports=(endpoint,),
        prepare=lambda: database.create_cluster(data, password),
        # PostgreSQL's fast shutdown: a TERM would wait for every client to leave.
        stop_signal="INT",
    )  # fmt: skip


def kafka(layout: Layout) -> Service:
    """The broker."""
    settings, conf = layout.settings, layout.conf("kafka")
    java = (
        *server_jvm(layout, settings.heaps.kafka),
        f"-Dlog4j2.configurationFile={conf / 'log4j2.properties'}", "-cp", f"{layout.jars(jars.KAFKA)}/*",
    )  # fmt: skip
    return Service(
        "kafka",
        "the exchanges' messages, in order",
        (*java, "kafka.Kafka", str(conf / "server.properties")),
        probes.kafka(settings.kafka),
        reads=("kafka",),
        ports=(settings.kafka, settings.kafka_controller),
        prepare=lambda: format_kafka(java, conf / "server.properties", layout.data("kafka")),
        stop_seconds=40,
    )


def format_kafka(java: tuple[str, ...], properties: Path, data: Path) -> None:
    """Make Kafka's data folder, unless it is there."""
    if (data / "meta.properties").exists():
        return
    formatting = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "--config", str(properties)]
    named = ["--cluster-id", cluster_id(uuid.uuid4())]
    done = subprocess.run([*java, *formatting, *named], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError(f"Kafka could not make its data folder {data}: {(done.stderr or done.stdout).strip()}")


def cluster_id(number: uuid.UUID) -> str:
    """Name a Kafka cluster: 22 characters of base64, of which the first is no dash: it would be read as an option."""
    return base64.urlsafe_b64encode(bytes([number.bytes[0] & 0b0111_1111, *number.bytes[1:]])).decode().rstrip("=")


def s3(layout: Layout) -> Service:
    """The object store, over a folder."""
    settings, data = layout.settings, layout.data("s3")
    endpoint, (jar,) = settings.s3_server or settings.s3, jars.S3PROXY.files(settings.tools_dir)
    return Service(
        "s3",
        "the tables' files",
        (
            *server_jvm(layout, settings.heaps.s3),
            "-DLOG_LEVEL=warn", "-Dlogback.statusListenerClass=ch.qos.logback.core.status.NopStatusListener",
            "-jar", str(jar), "--properties", str(layout.conf("s3") / "s3proxy.conf"),
        ),
        # Refusing a nameless caller is a sign of health.
        probes.http(f"{endpoint.url}/", ok=lambda status: status in (200, 403)),
        reads=("s3",),
        ports=(endpoint,),
        prepare=lambda: data.mkdir(parents=True, exist_ok=True),
    )  # fmt: skip


def nessie(layout: Layout) -> Service:
    """The catalog with branches."""
    settings, (jar,) = layout.settings, jars.NESSIE.files(layout.settings.tools_dir)
    endpoint = settings.nessie_server or settings.nessie
    return Service(
        "nessie",
        "the catalog: tables, branches, merges",
        (
            *server_jvm(layout, settings.heaps.nessie),
            f"-Dquarkus.config.locations={layout.conf('nessie') / 'application.properties'}", "-jar", str(jar),
        ),
        probes.http(f"{endpoint.url}/api/v2/config"),
        reads=("nessie",),
        ports=(endpoint, settings.nessie_management),
        # After a kill it goes through its store before it answers.
        patience=300,
        prepare=lambda: layout.data("nessie").mkdir(parents=True, exist_ok=True),
    )  # fmt: skip


def thrift(layout: Layout) -> Service:
    """Spark's SQL server: DDL, dbt, people."""
    endpoint = layout.settings.thrift
    hive = {
        "hive.server2.thrift.port": str(endpoint.port),
        "hive.server2.thrift.bind.host": layout.settings.listening(endpoint).host,
        "hive.server2.enable.doAs": "false",
    }
    return Service(
        "thrift",
        "Spark's SQL server: dbt, DDL, your queries",
        (
            str(layout.bin / "spark-submit"),
            "--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2",
            "--name", "thrift",
            "--driver-memory", layout.settings.heaps.thrift,
            *(word for name, value in hive.items() for word in ("--conf", f"spark.hadoop.{name}={value}")),
            "spark-internal",
        ),
        probes.thrift(endpoint),
        after=("nessie", "bucket", "spark-classes"),
        environment=class_archive.environment(layout, java.ONE_COMPILER),
        reads=("spark",),
        ports=(endpoint,),
        prepare=lambda: layout.data("spark").mkdir(parents=True, exist_ok=True),
    )  # fmt: skip


def bronze_writer(layout: Layout) -> Service:
    """The stream from Kafka into Bronze."""
    endpoint, metrics = layout.settings.spark_ui, layout.settings.bronze_metrics
    ui = {
        "spark.ui.enabled": "true",
        "spark.ui.port": str(endpoint.port),
        "spark.port.maxRetries": "0",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.streaming.ui.retainedQueries": "20",
    }
    on_store = {
        "spark.driver.extraClassPath": f"{layout.jars(jars.SPARK)}/*:{layout.jars(jars.CHECKPOINTS)}/*",
        STREAMING_CHECKPOINTS: ABORTABLE,
    }
    chosen = ui | (on_store if layout.settings.checkpoints == "s3" else {STREAMING_CHECKPOINTS: RENAMING})
    return Service(
        "bronze-writer",
        "Kafka → Bronze, exactly once",
        (
            str(layout.bin / "spark-submit"),
            "--name", "bronze-writer",
            "--driver-memory", layout.settings.heaps.bronze,
            *(word for name, value in chosen.items() for word in ("--conf", f"{name}={value}")),
            str(CHECKOUT / "spark_apps" / "bronze_writer" / "job.py"),
        ),
        # Its first batches are the slowest by far; until then an hour would only wait, and take their core.
        probes.metric(metrics, "bronze_queries_at_work", at_least=len(bronze.TABLES)),
        after=("tables", "topics"),
        reads=("spark", "settings"),
        environment=class_archive.environment(layout, java.LONG_LIVED),
        ports=(endpoint, metrics),
        stop_seconds=60,
        patience=240,
    )  # fmt: skip


def replica(layout: Layout) -> Service:
    """The stand-in of the exchange."""
    endpoint = layout.settings.replica
    return Service(
        "replica",
        "plays a recording as the exchange would",
        (sys.executable, "-m", "stack.replica"),
        probes.http(f"{endpoint.url}/health"),
        reads=("settings",),
        ports=(endpoint,),
    )


def producer_coinbase(layout: Layout) -> Service:
    """Coinbase's feed into Kafka."""
    purpose, endpoint = "Coinbase → Kafka, without a hole", layout.settings.producer_metrics
    return _producer(layout, "coinbase", purpose, endpoint)


def producer_bybit(layout: Layout) -> Service:
    """Bybit's feeds into Kafka."""
    purpose, endpoint = "Bybit → Kafka, its holes told", layout.settings.bybit_metrics
    return _producer(layout, "bybit", purpose, endpoint)


def producer_coingecko(layout: Layout) -> Service:
    """CoinGecko's prices into Kafka."""
    purpose, endpoint = "CoinGecko → Kafka, within its limits", layout.settings.coingecko_metrics
    return _producer(layout, "coingecko", purpose, endpoint)


def _producer(layout: Layout, venue: str, purpose: str, endpoint: Endpoint) -> Service:
    upstream = ("replica",) if layout.settings.exchange == "replica" else ()
    return Service(
        f"producer-{venue}",
        purpose,
        (sys.executable, "-m", f"streaming.{venue}"),
        probes.http(f"{endpoint.url}/metrics"),
        after=("topics", *upstream),
        reads=("settings",),
        ports=(endpoint,),
        stop_seconds=40,
    )


def airflow(layout: Layout) -> list[Service]:
    """Airflow's four processes."""
    settings, environment = layout.settings, console.environment(layout)
    if settings.profile == "standard":
        environment |= reporting.environment(settings)

    def process(
        name: str,
        purpose: str,
        ready: Callable[[], bool],
        *command: str,
        after: tuple[str, ...],
        ports: tuple[Endpoint, ...] = (),
    ) -> Service:
        return Service(
            name,
            purpose,
            (str(layout.bin / "airflow"), *command),
            ready,
            after=("airflow-db", "dbt-manifest", *after),
            environment=environment,
            reads=("settings",),
            ports=ports,
            prepare=lambda: console.write_password(layout),
            stop_seconds=40,
            patience=240,
        )

    def well(component: str) -> Callable[[], bool]:
        return probes.airflow_component(settings.airflow, component)

    # Airflow's log servers would listen on every address; on one machine the pages read the files themselves.
    no_log_server = "--skip-serve-logs"
    return [
        process("airflow-api", "the console: pages and API", probes.airflow_api(settings.airflow), "api-server",
                after=(), ports=(settings.airflow,)),
        # An hour that starts before the writer would only wait, and take its core.
        process("airflow-scheduler", "starts what is due", well("scheduler"), "scheduler", no_log_server,
                after=("airflow-api", "bronze-writer")),
        process("airflow-dag-processor", "reads dags/", well("dag_processor"), "dag-processor",
                after=("airflow-api",)),
        process("airflow-triggerer", "waits for many things at once", well("triggerer"), "triggerer", no_log_server,
                after=("airflow-api",)),
    ]  # fmt: skip

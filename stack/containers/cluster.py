"""The Spark cluster of the containers, to which the connection `spark_default` may send Airflow's jobs."""

from __future__ import annotations

import socket
import urllib.parse

from include.settings import Endpoint
from stack import probes
from stack.layout import Layout
from stack.service import Service

MASTER_PAGE = 8090
WORKER_PAGE = 8091
DAEMON_MEMORY = "256m"


def services(layout: Layout) -> list[Service]:
    """List the services of a cluster; none if the connection names no cluster of ours."""
    master = urllib.parse.urlsplit(layout.settings.spark_master)
    if master.scheme != "spark" or master.hostname is None or master.port is None:
        return []
    return [
        _daemon(
            layout, "spark-master", "hands the jobs out", "master.Master", "--port", str(master.port),
            host=master.hostname, page=MASTER_PAGE,
        ),
        _daemon(
            layout, "spark-worker", "runs the jobs", "worker.Worker",
            "--cores", str(layout.settings.spark_worker_cores), "--memory", layout.settings.spark_worker_memory,
            "--work-dir", str(layout.temporary / "work"), layout.settings.spark_master,
            host=socket.gethostname(), page=WORKER_PAGE,
        ),
    ]  # fmt: skip


def _daemon(layout: Layout, name: str, purpose: str, daemon: str, *words: str, host: str, page: int) -> Service:
    at = Endpoint(host=host, port=page)
    return Service(
        name,
        purpose,
        (
            str(layout.bin / "spark-class"), f"org.apache.spark.deploy.{daemon}",
            "--host", host, "--webui-port", str(page), *words,
        ),
        probes.http(at.url),
        environment={
            "SPARK_DAEMON_MEMORY": DAEMON_MEMORY,
            # What a job leaves on its worker, a day later.
            "SPARK_WORKER_OPTS": "-Dspark.worker.cleanup.enabled=true -Dspark.worker.cleanup.appDataTtl=86400",
        },
        ports=(at,),
    )  # fmt: skip

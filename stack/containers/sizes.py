"""How much each container gets, by profile: the heap of its Java process, its memory, its processors.

Only the standard library: `make secrets` writes these into `.env` before anything is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """What one container may use.

    Args:
        memory: Its limit in MiB; beyond it the kernel ends it.
        cpus: Its limit in processors; beyond it it waits.
        heaps: Setting of `Settings.heaps` → MiB of Java's heap in it.
    """

    memory: int
    cpus: float
    heaps: Mapping[str, int]


def _size(memory: int, cpus: float, **heaps: int) -> Size:
    return Size(memory, cpus, heaps)


MINIMAL: Mapping[str, Size] = {
    "postgres": _size(512, 1),
    "kafka": _size(768, 1, kafka=320),
    "s3": _size(768, 1),
    "nessie": _size(640, 1, nessie=256),
    "thrift": _size(1536, 1.5, thrift=896),
    "streaming": _size(1792, 1.5, bronze=640),
    "airflow-api": _size(1024, 1),
    # The tasks run in it: dbt, the gates, and what drives the hour's job.
    "airflow-scheduler": _size(3584, 2, job=768),
    "airflow-dag-processor": _size(768, 1),
    "airflow-triggerer": _size(768, 1),
    "replica": _size(384, 1),
}
"""12 to 16 GB of memory: what the native demo needs, with room for what each container does not share."""

_STANDARD_ADDS: Mapping[str, Size] = {
    "trino": _size(2560, 2, trino=1500),
    "metrics": _size(256, 0.5),
    "prometheus": _size(512, 0.5),
    "alertmanager": _size(128, 0.25),
    "grafana": _size(384, 0.5),
    "spark-master": _size(512, 0.5),
    "spark-worker": _size(2560, 2, executor=1536),
}
STANDARD: Mapping[str, Size] = {**MINIMAL, **_STANDARD_ADDS}
"""24 to 32 GB of memory."""

COMFORTABLE: Mapping[str, Size] = {
    **STANDARD,
    "postgres": _size(1024, 2),
    "kafka": _size(2048, 2, kafka=1024),
    "s3": _size(2048, 2),
    "nessie": _size(1536, 2, nessie=1024),
    "thrift": _size(4096, 4, thrift=3072),
    "streaming": _size(4096, 4, bronze=2048),
    "airflow-scheduler": _size(6144, 4, job=1536),
    "trino": _size(8192, 4, trino=6144),
    "prometheus": _size(1024, 1),
    "spark-worker": _size(6144, 4, executor=4096),
}
"""48 GB of memory and more; two workers."""

PROFILES: Mapping[str, Mapping[str, Size]] = {
    "minimal": MINIMAL,
    "standard": STANDARD,
    "comfortable": COMFORTABLE,
}
WORKERS: Mapping[str, int] = {"minimal": 0, "standard": 1, "comfortable": 2}
"""How many workers the Spark cluster has; without any the jobs run where Airflow's tasks do."""
TRINO_QUERY_MEMORY: Mapping[str, str] = {"minimal": "600MB", "standard": "600MB", "comfortable": "3GB"}
CLUSTER = "spark://spark-cluster:7077"
"""The name by which the workers and the jobs find the master: one that is known on the inner network alone."""


def variables(profile: str) -> dict[str, str]:
    """Return the sizes of a profile as the variables that the compose file and the settings read.

    Raises:
        KeyError: If there is no such profile.
    """
    found: dict[str, str] = {"LAKE_SPARK_MASTER": "local[2]"}
    for service, size in PROFILES[profile].items():
        name = service.upper().replace("-", "_")
        found[f"{name}_MEMORY"] = f"{size.memory}m"
        found[f"{name}_CPUS"] = f"{size.cpus:g}"
        found |= {f"LAKE_HEAPS__{heap.upper()}": f"{mebibytes}m" for heap, mebibytes in size.heaps.items()}
    if workers := WORKERS[profile]:
        worker = PROFILES[profile]["spark-worker"]
        found["SPARK_WORKERS"] = str(workers)
        found["LAKE_SPARK_MASTER"] = CLUSTER
        found["LAKE_SPARK_WORKER_CORES"] = f"{worker.cpus:g}"
        # Beside its heap an executor takes 384 MiB at least, and the worker itself some.
        found["LAKE_SPARK_WORKER_MEMORY"] = f"{worker.heaps['executor'] + 384}m"
        found["LAKE_TRINO_QUERY_MEMORY"] = TRINO_QUERY_MEMORY[profile]
    return found

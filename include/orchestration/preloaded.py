"""The libraries that the hour's tasks need, loaded once in the process from which Airflow forks its workers.

Importing them takes a task up to ten seconds of a core; forked, they are there. Our own modules are not among them: an
edit of those reaches the next task without a restart. Named in `airflow.cfg` as `mp_forkserver_preload`.
"""

from __future__ import annotations

import gc
import inspect
from importlib import import_module

LIBRARIES = (
    # every task: its runner, and what the DAG file is made of
    "airflow.dag_processing.dagbag",
    "airflow.sdk.execution_time.task_runner",
    "airflow.providers.apache.spark.operators.spark_submit",
    "cosmos.airflow.task_group",
    "cosmos.operators.local",
    # Airflow asks all plugins, also in tasks, and Cosmos' has pages.
    "cosmos.plugin.airflow3",
    "apprise",
    "confluent_kafka.admin",
    "httpx",
    "prometheus_client.parser",
    "pydantic_settings",
    "supervisor.xmlrpc",
    # dbt's models
    "dbt.cli.main",
    "dbt.adapters.spark",
    "openlineage.common.provider.dbt.local",
    # the gates
    "duckdb",
    "great_expectations.expectations",
    "great_expectations_provider.common.gx_context_actions",
    "pyhive.hive",
    "pyiceberg.catalog.rest",
    "pyiceberg.io.pyarrow",
)

SCHEMAS = (
    "dbt.adapters.spark.connections.SparkCredentials",
    "dbt.contracts.project.Configuration",
    "dbt.contracts.project.PackageConfig",
    "dbt.contracts.project.ProfileConfig",
    "dbt.contracts.project.Project",
    "dbt.contracts.project.ProjectFlags",
    "dbt.contracts.selection.SelectorFile",
)
"""What dbt reads whenever it starts; it keeps the schema of each once it has built it, which takes half a second."""

for library in LIBRARIES:
    import_module(library)
for name in SCHEMAS:
    module, kept = name.rsplit(".", 1)
    getattr(import_module(module), kept).json_schema()
# dbt asks at its start who calls it; the first to ask has Python look through all modules.
inspect.stack()

# What the collector does not look at, it does not write to: the pages stay shared with every task.
gc.freeze()

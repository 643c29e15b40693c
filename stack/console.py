"""The environment of Airflow's processes: what `airflow/airflow.cfg` cannot know because it differs between stacks."""

from __future__ import annotations

import json

from include.settings import CHECKOUT
from stack import class_archive, database, java
from stack.layout import Layout, revealed
from stack.templates import write_private

USER = "admin"


def environment(layout: Layout) -> dict[str, str]:
    """Return the variables that every `airflow` command of this stack needs."""
    settings = layout.settings
    home = layout.state / "airflow"
    return layout.environment() | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(CHECKOUT / "airflow" / "airflow.cfg"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(CHECKOUT / "include" / "plugins"),
        "AIRFLOW__CORE__FERNET_KEY": revealed(settings, "airflow_fernet_key"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{settings.airflow.url}/execution/",
        "AIRFLOW__CORE__AUTH_MANAGER":
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.url(
            settings.postgres, revealed(settings, "postgres_password")
        ),
        "AIRFLOW__API__HOST": settings.listening(settings.airflow).host,
        "AIRFLOW__API__PORT": str(settings.airflow.port),
        "AIRFLOW__API__BASE_URL": settings.airflow_pages,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": revealed(settings, "airflow_jwt_secret"),
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(layout.logs / "airflow"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(layout.logs / "airflow" / "dag_processor"),
        "AIRFLOW__COSMOS__CACHE_DIR": str(home / "cosmos"),
        "AIRFLOW__COSMOS__DBT_DOCS_PROJECTS": json.dumps(
            {"lake": {"dir": str(layout.state / "dbt"), "index": "index.html", "name": "dbt docs"}},
            separators=(",", ":"),
        ),
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(
            {
                "conn_type": "spark",
                "host": settings.spark_master,
                "extra": {"deploy-mode": "client", "spark-binary": "spark-submit"},
            },
            separators=(",", ":"),
        ),
        "AIRFLOW_CONN_TRINO_DEFAULT": f"trino://lake@{settings.trino.address}/{settings.catalog}",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
        "GX_ANALYTICS_ENABLED": "False",
        "SCARF_ANALYTICS": "false",
    } | class_archive.environment(layout, java.ONE_COMPILER) | dbt_environment(layout)  # fmt: skip


def dbt_environment(layout: Layout) -> dict[str, str]:
    """Return the variables that dbt needs."""
    settings = layout.settings
    return {
        "DBT_PROJECT_DIR": str(CHECKOUT / "dbt_project"),
        "DBT_PROFILES_DIR": str(CHECKOUT / "dbt_project"),
        "DBT_TARGET_PATH": str(layout.state / "dbt"),
        "DBT_LOG_PATH": str(layout.logs / "dbt"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "LAKE_THRIFT__HOST": settings.thrift.host,
        "LAKE_THRIFT__PORT": str(settings.thrift.port),
    }


def write_password(layout: Layout) -> None:
    """Write the password file of Airflow's page, which only its owner can read."""
    home = layout.state / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    write_private(home / "passwords.json", json.dumps({USER: revealed(layout.settings, "airflow_password")}))

"""How Airflow comes to the gates' pages."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/data_docs"


class DataDocs(AirflowPlugin):
    """Mounts the pages and gives them their place in the navigation."""

    name = "data_docs"
    external_views = [  # noqa: RUF012 (Airflow reads it so)
        {"name": "Data Docs", "href": f"{PREFIX}/", "destination": "nav", "url_route": "data_docs"}
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Make the application when the API server asks: schedulers and workers load plugins too."""
        from include.data_docs.app import make_app

        return [{"app": make_app(), "url_prefix": PREFIX, "name": "Data Docs"}]

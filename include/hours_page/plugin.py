"""How Airflow comes to the hours page."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/hours"


class HoursPage(AirflowPlugin):
    """Mounts the page and gives it its place in the navigation."""

    name = "hours_page"
    external_views = [  # noqa: RUF012 (Airflow reads it so)
        {"name": "Hours", "href": f"{PREFIX}/", "destination": "nav", "url_route": "hours", "nav_top_level": True}
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Make the application when the API server asks: schedulers and workers load plugins too."""
        from include.hours_page.app import make_app

        return [{"app": make_app(), "url_prefix": PREFIX, "name": "Hours"}]

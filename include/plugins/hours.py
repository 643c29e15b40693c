"""Airflow's plugins folder: what it loads in each of its processes. The plugin itself is a package."""

from __future__ import annotations

from include.hours_page.plugin import HoursPage

__all__ = ["HoursPage"]

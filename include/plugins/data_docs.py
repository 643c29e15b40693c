"""Airflow's plugins folder: what it loads in each of its processes. The plugin itself is a package."""

from __future__ import annotations

from include.data_docs.plugin import DataDocs

__all__ = ["DataDocs"]

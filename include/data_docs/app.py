"""The gates' pages inside Airflow's API server: read-only files, for those who may read the hours' runs."""

from __future__ import annotations

from html import escape
from pathlib import Path

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse

from include.settings import Settings

HOURLY = "trades_hourly"
"""The DAG whose gates wrote the pages."""
STATIC = "static"
router = APIRouter(dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN, HOURLY))])


@router.get("/")
def list_hours() -> HTMLResponse:
    """List the hours that have pages, each with its layers."""
    root = Settings.load().data_docs_dir
    hours = sorted((path for path in root.glob("*") if path.is_dir() and path.name != STATIC), reverse=True)
    lines = [f"<li>{escape(hour.name)}: {_layers(hour)}</li>" for hour in hours]
    listed = f"<ul>{''.join(lines)}</ul>" if lines else "<p>No hour was judged yet.</p>"
    return HTMLResponse(f"<!doctype html><title>Data Docs</title><h1>What the gates found</h1>{listed}")


@router.get("/{path:path}")
def read_file(path: str) -> FileResponse:
    """Give a file of the pages; of a folder its first page."""
    root = Settings.load().data_docs_dir.resolve()
    file = (root / path).resolve()
    if file.is_dir():
        file /= "index.html"
    if not file.is_relative_to(root) or not file.is_file():
        raise HTTPException(404, f"there is no page {path}")
    return FileResponse(file)


def make_app() -> FastAPI:
    """Make the application that Airflow mounts."""
    app = FastAPI(title="Data Docs", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    return app


def _layers(hour: Path) -> str:
    there = sorted(path.name for path in hour.iterdir() if (path / "index.html").exists())
    return ", ".join(f'<a href="{escape(hour.name)}/{escape(name)}/index.html">{escape(name)}</a>' for name in there)

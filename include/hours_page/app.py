"""The hours page's web layer, inside Airflow's API server: who may look, and facts in, JSON out."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_asset, requires_access_dag
from airflow.utils.session import create_session
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy.orm import Session
from starlette.middleware.base import RequestResponseEndpoint

from include.contracts import table as table_of
from include.hours_page import facts, grid
from include.orchestration.hours import Hour
from include.orchestration.rebuilding import DAG, HOURLY
from include.settings import CHECKOUT, Settings

STATIC = Path(__file__).parent / "static"
MOST_HOURS = 24 * 366
"""The longest span that is drawn at once."""
VERDICTS_S = 60.0
"""How long reading the verdicts of one run may take; on a busy machine the imports alone take ten seconds."""
one_reader = threading.Lock()
"""Of the processes that read the lake, one runs at a time: each takes some hundred megabytes."""
HEADERS = {
    # The page asks nobody else for anything, and only Airflow's own page may hold it.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'self'; form-action 'self'",
    # After an upgrade nobody is to see the old page.
    "Cache-Control": "no-cache",
}


def session() -> Iterator[Session]:
    """Open Airflow's database for one request."""
    with create_session(scoped=False) as opened:
        yield opened


SessionDep = Annotated[Session, Depends(session, scope="function")]
may_read = [
    Depends(requires_access_dag("GET", DagAccessEntity.RUN, HOURLY)),
    Depends(requires_access_dag("GET", DagAccessEntity.RUN, DAG)),
    Depends(requires_access_asset("GET")),
]
"""Who may read the runs of the hours and of their rebuilding in Airflow, may read them here."""
# Plain functions, not coroutines: they wait for the database in a thread and not in the server's loop.
router = APIRouter(prefix="/api", dependencies=may_read)


@router.get("/grid")
def read_grid(
    opened: SessionDep, hours: Annotated[int, Query(ge=1, le=MOST_HOURS)] = 48, until: str | None = None
) -> dict[str, Any]:
    """Give a row of statuses for each table, a letter an hour and a letter a day, and the queue.

    Args:
        hours: How many.
        until: The last of them, a partition key; if nothing is said, the newest that is over.
    """
    now = datetime.now(UTC)
    newest = _newest_over(now)
    last = min(_hour(until), newest) if until else newest
    first = max(Hour(last.start - timedelta(hours=hours - 1)), _first(opened, newest))
    shown = grid.hours_between(first, last)
    known = facts.gather(opened, shown) if shown else facts.Facts([], [], {}, {})
    rows = grid.statuses(facts.NAMES, shown, known.attempts, known.publications, known.stale_since)
    return {
        "now": now.isoformat(),
        "newest": newest.key,
        "first": _first(opened, newest).key,
        "hours": shown,
        "tables": [_row(name, shown, row, known.newest.get(name), now) for name, row in rows.items()],
        "queue": facts.queue(opened),
    }


@router.get("/hours/{key}")
def read_hour(opened: SessionDep, key: str) -> dict[str, Any]:
    """Give what was announced of an hour, by table, and the runs that worked on it."""
    hour = _hour(key).key
    return {"hour": hour, "tables": facts.tables_of(opened, hour), "runs": facts.runs_of(opened, hour)}


@router.get("/verdicts")
def read_verdicts(opened: SessionDep, run_id: str) -> Response:
    """Give what the gates found in a run of an hour.

    Another process reads the lake, so that this server neither imports what that needs nor keeps its memory.
    """
    span = facts.span_of(opened, run_id)
    if span is None:
        raise HTTPException(404, f"Airflow has no run {run_id} any more")
    opened.close()
    began, ended = span
    command = [sys.executable, "-m", "include.hours_page.verdicts", run_id, began.isoformat()]
    command += [ended.isoformat()] if ended else []
    try:
        with one_reader:
            done = subprocess.run(
                command, cwd=CHECKOUT, capture_output=True, text=True, timeout=VERDICTS_S, check=False
            )
    except subprocess.TimeoutExpired as late:
        raise HTTPException(504, f"the lake did not answer within {VERDICTS_S:.0f} s") from late
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        raise HTTPException(502, f"ops.gate_results cannot be read: {words[-1] if words else 'no reason was given'}")
    return Response(done.stdout, media_type="application/json")


def make_app() -> FastAPI:
    """Make the application that Airflow mounts."""
    app = FastAPI(title="Hours", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)

    @app.middleware("http")
    async def guard(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


def _row(
    name: str, hours: list[str], row: list[grid.Status], newest: str | None, now: datetime
) -> dict[str, Any]:  # fmt: skip
    table = table_of(name)
    fresh = grid.freshness(table, newest, now)
    return {
        "name": name,
        "description": table.description,
        "hours": "".join(row),
        "days": "".join(grid.by_day(hours, row).values()),
        "newest": fresh.newest,
        "age_seconds": fresh.age.total_seconds() if fresh.age is not None else None,
        "promised_seconds": fresh.promised.total_seconds() if fresh.promised is not None else None,
        "is_fresh": fresh.is_kept,
    }


def _hour(key: str) -> Hour:
    try:
        return Hour.of_key(key)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


def _newest_over(now: datetime) -> Hour:
    return Hour(now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1))


def _first(opened: Session, newest: Hour) -> Hour:
    """Return the first hour that there is to show: the lake's, or one before it whose history was fetched."""
    began = Settings.load().first_hour
    known = [Hour(began)] if began else []
    published = facts.first_published(opened)
    known += [Hour.of_key(published)] if published else []
    return min(known, default=newest)

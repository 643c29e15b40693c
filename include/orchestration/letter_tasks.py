"""The tasks by which a person looks at dead letters and replays them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.orchestration import dead_letters
from include.orchestration.dead_letters import INSPECTED, SAMPLES, Choice, Found, contents, cut, find, listing
from include.orchestration.lake import open_catalog
from include.settings import Settings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

log = logging.getLogger(__name__)

USER = "admin"
"""Who writes the note: the stack's only user."""
ANSWER_S = 10.0


@task
def list_letters() -> list[str]:
    """Count the chosen letters by venue and reason, and show the newest; the result is the counts, a line each.

    Raises:
        AirflowFailException: If the form cannot be read.
    """
    settings = Settings.load()
    letters = _chosen(settings)
    counts = listing(letters, dead_letters.replayed(settings.kafka.address))
    for line in counts or ["no such letter"]:
        log.info(line)
    with _catalog(settings) as catalog:
        for letter, said in contents(catalog, letters[:SAMPLES]):
            log.info("%s %s %s: %.500s", letter.place, letter.received_at, letter.reason, said)
    return [f"{len(letters)} letters", *counts]


@task
def inspect_letters() -> int:
    """Show the newest of the chosen letters whole, if that is the action; the result is how many."""
    settings = Settings.load()
    if get_current_context()["params"]["action"] != "inspect":
        return 0
    letters = _chosen(settings)
    with _catalog(settings) as catalog:
        for letter, said in contents(catalog, letters[:INSPECTED]):
            log.info(
                "%s, received %s, from %s\n%s\n%s", letter.place, letter.received_at, letter.venue, letter.reason, said
            )
    if len(letters) > INSPECTED:
        log.warning("%d older ones are not shown: choose fewer", len(letters) - INSPECTED)
    return min(len(letters), INSPECTED)


@task
def replay_letters() -> dict[str, Any]:
    """Replay the chosen letters, if that is the action; the result is what became of them, else it is empty."""
    settings, context = Settings.load(), get_current_context()
    if context["params"]["action"] != "replay":
        return {}
    since = context["dag_run"].run_after
    outcome = dead_letters.replay([letter.place for letter in _chosen(settings)], since, log.info)
    return {
        "fates": dict(outcome.fates),
        "reasons": dict(outcome.reasons.most_common()),
        "hours": sorted(outcome.hours),
    }


@task
def name_hours(outcome: dict[str, Any]) -> list[str]:
    """Name the hours that were published without the trades that are replayed now: they are to be rebuilt."""
    if not outcome:
        return []
    with _catalog(Settings.load()) as catalog:
        hours = dead_letters.published(catalog, outcome["hours"])
    if hours:
        log.warning("published without these trades, and to be rebuilt: %s", ", ".join(hours))
    return hours


@task
def write_note(counts: list[str], outcome: dict[str, Any], hours: list[str]) -> None:
    """Write what was found and done into the run's note."""
    settings, run = Settings.load(), get_current_context()["dag_run"]
    lines = counts
    if outcome:
        done = ", ".join(f"{count} {fate}" for fate, count in sorted(outcome["fates"].items())) or "nothing to replay"
        stay = [f"{count} stay: {reason}" for reason, count in outcome["reasons"].items()]
        # The hours first: they are what is still to be done.
        lines = [done, *([f"rebuild {', '.join(hours)}"] if hours else []), *stay]
    _write(settings, run.dag_id, run.run_id, cut(lines))


def _write(settings: Settings, dag_id: str, run_id: str, note: str) -> None:
    """Write a run's note through the API, as a person's page does: tasks have no other way to it."""
    if settings.airflow_password is None:
        raise AirflowFailException(f"no password in {settings.state_dir}; run `python -m stack init`")
    root = settings.airflow.url
    login = {"username": USER, "password": settings.airflow_password.get_secret_value()}
    token = httpx.post(f"{root}/auth/token", json=login, timeout=ANSWER_S).raise_for_status().json()["access_token"]
    httpx.patch(
        f"{root}/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}",
        json={"note": note},
        headers={"Authorization": f"Bearer {token}"},
        timeout=ANSWER_S,
    ).raise_for_status()


def _catalog(settings: Settings) -> Catalog:
    return open_catalog(settings, settings.branch)


def _chosen(settings: Settings) -> list[Found]:
    try:
        choice = Choice.of(get_current_context()["params"])
    except ValueError as error:
        raise AirflowFailException(str(error)) from error
    with _catalog(settings) as catalog:
        return find(catalog, choice)

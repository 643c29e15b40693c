"""The tasks by which a person looks at dead letters and replays them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.orchestration import dead_letters
from include.orchestration.airflow_api import AirflowApi
from include.orchestration.dead_letters import INSPECTED, SAMPLES, Choice, Found, contents, cut, find, listing
from include.orchestration.lake import open_catalog, published_hours
from include.settings import Settings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

log = logging.getLogger(__name__)


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
    """Name the hours that were published before the trades that are replayed now; `late_trades` rebuilds them."""
    if not outcome:
        return []
    with _catalog(Settings.load()) as catalog:
        hours = published_hours(catalog, outcome["hours"])
    if hours:
        log.warning("published without these trades: %s", ", ".join(hours))
    return hours


@task
def write_note(counts: list[str], outcome: dict[str, Any], hours: list[str]) -> None:
    """Write what was found and done into the run's note."""
    settings, run = Settings.load(), get_current_context()["dag_run"]
    lines = counts
    if outcome:
        done = ", ".join(f"{count} {fate}" for fate, count in sorted(outcome["fates"].items())) or "nothing to replay"
        stay = [f"{count} stay: {reason}" for reason, count in outcome["reasons"].items()]
        lines = [done, *([f"of published hours: {', '.join(hours)}"] if hours else []), *stay]
    with AirflowApi.of(settings) as airflow:
        airflow.write_note(run.dag_id, run.run_id, cut(lines))


def _catalog(settings: Settings) -> Catalog:
    return open_catalog(settings, settings.branch)


def _chosen(settings: Settings) -> list[Found]:
    try:
        choice = Choice.of(get_current_context()["params"])
    except ValueError as error:
        raise AirflowFailException(str(error)) from error
    with _catalog(settings) as catalog:
        return find(catalog, choice)

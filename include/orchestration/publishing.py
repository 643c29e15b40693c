"""The tasks between which an hour is written and audited unseen, and those that make it seen."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import UTC, datetime

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.orchestration import turn as turns
from include.orchestration.branches import PREFIX
from include.orchestration.nessie import MergeConflictError, Nessie, ReferenceExistsError
from include.settings import Settings

log = logging.getLogger(__name__)

BRANCH = "{{ ti.xcom_pull('open_branch') }}"
"""The branch of the attempt, for templated fields of any task after `open_branch`."""


@task
def open_branch(turn: dict[str, str]) -> str:
    """Branch off what readers see: from here Bronze is frozen for this attempt, and all it writes is its own."""
    settings = Settings.load()
    with Nessie(settings.nessie_api) as nessie:
        _require(nessie, turn)
        main = nessie.get(settings.branch)
        try:
            nessie.create(turn["branch"], at=main.hash, source=main.name)
        except ReferenceExistsError:
            log.info("an earlier try opened %s", turn["branch"])
    return turn["branch"]


@task
def publish(turn: dict[str, str]) -> dict[str, str]:
    """Make the hour seen: merge its branch in one commit. The result is the hash that readers saw before and after."""
    settings = Settings.load()
    dag_run = get_current_context()["dag_run"]
    message = f"Publish {dag_run.partition_key} of {dag_run.dag_id}, {dag_run.run_id}"
    with Nessie(settings.nessie_api) as nessie:
        held = _require(nessie, turn)
        try:
            publication = turns.publish(nessie, held, into=settings.branch, message=message)
        except (turns.TurnLostError, MergeConflictError) as error:
            raise AirflowFailException(str(error)) from error
    log.info("%s is published", dag_run.partition_key)
    return asdict(publication)


@task
def give_turn_back(turn: dict[str, str]) -> str | None:
    """End the turn, however the attempt went. The result is the name under which an unpublished branch is kept."""
    with Nessie(Settings.load().nessie_api) as nessie:
        held = turns.current(nessie)
        if held is None or held.hash != turn["hash"]:
            log.warning("the turn was taken over before it was given back")
            return None
        kept = turns.end(nessie, held)
    if kept:
        log.error("the hour was not published; its branch is kept as %s", kept)
    return kept


@task
def forget_failed_attempts() -> list[str]:
    """Delete the branches of unpublished attempts that were kept long enough; the result is their names."""
    settings = Settings.load()
    with Nessie(settings.nessie_api) as nessie:
        forgotten = turns.forget(nessie, before=datetime.now(UTC) - settings.failed_branches_kept)
    log.info("forgotten: %s", ", ".join(forgotten) or "none")
    return forgotten


@task
def forget_development_branches() -> list[str]:
    """Delete people's branches that nobody has committed to for long; the result is their names."""
    settings = Settings.load()
    before = datetime.now(UTC) - settings.development_branches_kept
    with Nessie(settings.nessie_api) as nessie:
        forgotten = turns.forget(nessie, before=before, beginnings=(PREFIX,))
    log.info("forgotten: %s", ", ".join(forgotten) or "none")
    return forgotten


def _require(nessie: Nessie, turn: dict[str, str]) -> turns.Turn:
    try:
        return turns.require(nessie, turn["hash"])
    except turns.TurnLostError as error:
        raise AirflowFailException(str(error)) from error

"""The tasks by which a person makes, compares, merges and drops a branch of the lake."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.contracts import silver
from include.contracts.table import Layer
from include.orchestration import branches
from include.orchestration import turn as turns
from include.orchestration.airflow_api import AirflowApi
from include.orchestration.branches import BranchError, Changes
from include.orchestration.dead_letters import cut
from include.orchestration.hours import Hour
from include.orchestration.lake import open_catalog, rows
from include.orchestration.nessie import Nessie
from include.settings import Settings

log = logging.getLogger(__name__)

MOST_HOURS = 48
"""How many hours a merge judges; more are better built anew by a backfill, which judges each in its turn."""
FOLLOWS = {"create": "create_branch", "diff": "compare_branch", "merge": "take_turn", "drop": "drop_branch"}
"""Which task does, or begins, what a person can choose."""
ACTIONS = tuple(FOLLOWS)


@task.branch
def choose_action() -> str:
    """Go on with what was chosen; the rest is skipped."""
    return FOLLOWS[get_current_context()["params"]["action"]]


@task
def create_branch() -> str:
    """Branch off what readers see; the result is the branch's name."""
    settings = Settings.load()
    with Nessie(settings.nessie_api) as nessie:
        try:
            made = branches.create(nessie, _name(), main=settings.branch)
        except BranchError as error:
            raise AirflowFailException(str(error)) from error
    _note(settings, [f"{made.name} is a branch of {settings.branch} at {made.hash[:12]}"])
    return made.name


@task
def compare_branch() -> list[str]:
    """Say what the branch made of the lake; the result is a line for each table."""
    from include.orchestration.row_changes import described, row_changes

    settings = Settings.load()
    found = _changes(settings)
    lines = described(found, row_changes(settings, found))
    _note(settings, lines)
    return lines


@task
def drop_branch() -> str:
    """Delete the branch with all that was not merged; the result is the commit from which it can be made again."""
    settings = Settings.load()
    with Nessie(settings.nessie_api) as nessie:
        try:
            gone = branches.drop(nessie, _name())
        except BranchError as error:
            raise AirflowFailException(str(error)) from error
    _note(settings, [f"{gone.name} is dropped; it stood at {gone.hash}"])
    return gone.hash


@task
def judge_branch(turn: dict[str, str]) -> dict[str, Any]:
    """Hold every hour that the branch changed against the gates, as if it were to be published.

    The result is the branch, its commit that was judged, the tables and the hours. Each verdict is kept in
    `ops.gate_results`.

    Raises:
        AirflowFailException: If a rule that blocks is broken, or the branch cannot be merged.
    """
    from include.orchestration.row_changes import described, hours_of, row_changes

    settings = Settings.load()
    found = _mergeable(settings, turn)
    changed = row_changes(settings, found)
    for line in described(found, changed):
        log.info(line)
    ref = f"{found.branch}@{found.head}"
    with open_catalog(settings, ref) as catalog:
        published = rows(catalog, silver.PRODUCT_HOURS, "true", ("hour_start",)).column("hour_start").unique()
    hours = hours_of(changed, [start.astimezone(UTC) for start in published.to_pylist()])
    if len(hours) > MOST_HOURS:
        raise AirflowFailException(
            f"{found.branch} changed {len(hours)} hours, and a merge judges {MOST_HOURS} at most: merge the code, and "
            "build these hours anew by a backfill of trades_hourly, which judges each"
        )
    has_silver = any(name.startswith(f"{Layer.SILVER}.") for name in changed)
    for hour in hours:
        for layer in (Layer.SILVER, Layer.GOLD) if has_silver else (Layer.GOLD,):
            _judge(settings, layer, found, hour)
    return {
        "branch": found.branch,
        "head": found.head,
        "tables": [table.name for table in found.tables],
        "hours": [hour.key for hour in hours],
    }


@task
def merge_branch(turn: dict[str, str], judged: dict[str, Any]) -> list[str]:
    """Bring what was judged into what readers see, in one commit, and end the branch; the result is the tables.

    Raises:
        AirflowFailException: If it cannot be merged; the text says why, and what to do.
    """
    settings, run = Settings.load(), get_current_context()["dag_run"]
    with Nessie(settings.nessie_api) as nessie:
        held = _held(nessie, turn)
        since = datetime.fromisoformat(held.owner.claimed_at) - turns.CLOCK_SKEW
        # An earlier try may have been cut off after the merge.
        if not branches.is_merged(nessie, judged["head"], into=settings.branch, since=since):
            found = _mergeable(settings, turn)
            if found.head != judged["head"]:
                raise AirflowFailException(
                    f"{found.branch} was written to after it was judged: clear judge_branch with all that follows it"
                )
            try:
                branches.merge(nessie, found, into=settings.branch, by=run.run_id)
            except BranchError as error:
                raise AirflowFailException(str(error)) from error
        if not branches.end(nessie, _name(), judged["head"]):
            log.warning("%s was written to after it was merged and stays; what came late is not merged", _name())
    hours = ", ".join(judged["hours"]) or "none"
    note = f"{judged['branch']} is merged: {', '.join(judged['tables'])}"
    _note(settings, [note, f"hours that were judged: {hours}"])
    return list(judged["tables"])


def _judge(settings: Settings, layer: Layer, found: Changes, hour: Hour) -> None:
    from include.orchestration import gate_results
    from include.orchestration.judging import judge_hour

    judgement = judge_hour(settings, layer, f"{found.branch}@{found.head}", hour)
    ti = get_current_context()["ti"]
    attempt = gate_results.Attempt(hour.key, ti.run_id, ti.try_number, found.branch, datetime.now(UTC))
    gate_results.keep(settings, attempt, judgement.verdicts)
    log.info("%s of %s: %d rules", layer, hour, len(judgement.verdicts))
    if blocked := judgement.blocked:
        lines = [f"{layer} of {hour} on {found.branch} breaks {len(blocked)} rules, so nothing is merged"]
        for verdict in blocked:
            lines += [f"- {verdict}", *(f"    {dict(sample)}" for sample in verdict.samples)]
        raise AirflowFailException("\n".join(lines))


def _mergeable(settings: Settings, turn: dict[str, str]) -> Changes:
    found = _changes(settings)
    with Nessie(settings.nessie_api) as nessie:
        _held(nessie, turn)
    try:
        branches.refuse_unmergeable(found)
    except BranchError as error:
        raise AirflowFailException(str(error)) from error
    return found


def _held(nessie: Nessie, turn: dict[str, str]) -> turns.Turn:
    try:
        return turns.require(nessie, turn["hash"])
    except turns.TurnLostError as error:
        raise AirflowFailException(str(error)) from error


def _changes(settings: Settings) -> Changes:
    with Nessie(settings.nessie_api) as nessie:
        try:
            return branches.changes(nessie, _name(), main=settings.branch)
        except BranchError as error:
            raise AirflowFailException(str(error)) from error


def _name() -> str:
    return str(get_current_context()["params"]["name"])


def _note(settings: Settings, lines: Sequence[str]) -> None:
    """Write into the log and the run's note."""
    for line in lines:
        log.info(line)
    run = get_current_context()["dag_run"]
    with AirflowApi.of(settings) as airflow:
        airflow.write_note(run.dag_id, run.run_id, cut(lines))

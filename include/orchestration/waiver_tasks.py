"""The tasks by which a person lets a blocked hour through."""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.contracts import ops
from include.orchestration.airflow_api import AirflowApi
from include.orchestration.hours import Hour
from include.orchestration.ops_rows import replace
from include.orchestration.rebuilding import HOURLY
from include.settings import Settings

if TYPE_CHECKING:
    from include.orchestration.waivers import Wish

log = logging.getLogger(__name__)

PATIENCE = timedelta(days=7)
"""How long a question waits for its answer."""


@task
def find_block() -> dict[str, Any]:
    """Find how the newest attempt at the hour breaks the rule; the result is that, and the `question` for a person.

    Raises:
        AirflowFailException: If the form cannot be read, or the rule is not what blocks the hour.
    """
    from include.orchestration import waivers

    wish, settings = _wish(), Settings.load()
    blocks = waivers.blocks(settings, Hour.of_key(wish.hour))
    found = [block for block in blocks if (block.table, block.rule_id) == (wish.table, wish.rule_id)]
    if not found:
        others = ", ".join(f"{block.table} {block.rule_id}" for block in blocks) or "nothing"
        raise AirflowFailException(
            f"{wish.rule_id} of {wish.table} does not block {wish.hour}: what blocks its newest attempt is {others}"
        )
    (block,) = found
    samples = [f"    {json.dumps(sample, ensure_ascii=False)}" for sample in json.loads(block.samples or "[]")]
    until = f" Rebuilds may do so until {wish.holds_until}." if wish.holds_until else ""
    question = [
        f"{block.failed_count} of {block.checked_count} rows break it, on branch `failed-{block.branch}`, run "
        f"`{block.run_id}`. If you approve, {wish.hour} is built again and published, with as many of them and no more."
        f"{until}",
        f"Why: {wish.why}",
        "\n".join(samples),
    ]
    return {**block.as_json(), "question": "\n\n".join(question)}


def ask_person() -> ApprovalOperator:
    """Ask whether the hour may be published nevertheless; nothing holds a worker or the turn meanwhile."""
    return ApprovalOperator(
        task_id="ask_person",
        subject="Publish {{ params.hour }} although {{ params.table }} breaks {{ params.rule }}?",
        body="{{ ti.xcom_pull('find_block')['question'] }}",
        response_timeout=PATIENCE,
        # A question to which nobody answered is not put again.
        retries=0,
    )


@task
def keep_waiver(block: dict[str, Any], answer: dict[str, Any]) -> str:
    """Write the waiver to `ops.waivers`; the result is who gave it."""
    wish, run = _wish(), get_current_context()["dag_run"]
    granted_by, granted_at = answer["responded_by_user"]["name"], answer["responded_at"]
    row = (
        wish.hour,
        wish.table,
        wish.rule_id,
        block["failed_count"],
        granted_by,
        wish.why,
        granted_at.isoformat(),
        wish.holds_until,
        run.run_id,
    )
    replace(Settings.load(), ops.WAIVERS, [row])
    log.warning(
        "%s of %s no longer blocks %s, by leave of %s: %s", wish.rule_id, wish.table, wish.hour, granted_by, wish.why
    )
    return str(granted_by)


@task
def rebuild_hour(granted_by: str) -> str | None:
    """Ask for a run that builds the hour again, unless more blocks it; the result is the run's id."""
    from include.orchestration import waivers

    settings, wish, run = Settings.load(), _wish(), get_current_context()["dag_run"]
    hour = Hour.of_key(wish.hour)
    held = waivers.holding(settings, hour, datetime.now(UTC))
    others = waivers.still_blocking(waivers.blocks(settings, hour), held)
    run_id = f"waived__{hour}__{hashlib.sha256(run.run_id.encode()).hexdigest()[:8]}"
    note = f"{wish.rule_id} of {wish.table} is waived by {granted_by}: {wish.why}"
    with AirflowApi.of(settings) as airflow:
        if others:
            more = ", ".join(f"{block.rule_id} of {block.table}" for block in others)
            airflow.write_note(run.dag_id, run.run_id, f"{note}. Not built again: {more} blocks {hour}, too")
            return None
        is_new = airflow.trigger(HOURLY, run_id, partition_key=hour.key, note=note)
        airflow.write_note(run.dag_id, run.run_id, f"{note}. Built again by {run_id}")
    log.info("%s: %s", run_id, "asked for" if is_new else "was asked for before")
    return run_id


def _wish() -> Wish:
    from include.orchestration.waivers import Wish

    try:
        return Wish.of(get_current_context()["params"])
    except ValueError as error:
        raise AirflowFailException(str(error)) from error

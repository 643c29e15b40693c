"""Telling that an hour which a gate had blocked is published after all: once for each time that it was blocked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import get_current_context, task

from include.orchestration import alerts, gate_results
from include.orchestration import turn as turns
from include.orchestration.hours import Hour
from include.orchestration.nessie import Nessie
from include.settings import Settings

Result = Mapping[str, Any]
"""A row of `ops.gate_results`."""


@dataclass(frozen=True, slots=True)
class Mended:
    """What blocked an hour since it was last published, and whether it holds now.

    Args:
        blocked: Table and rule of each, with the run that found it last.
        waived: Those of them that a person let through.
    """

    blocked: Mapping[tuple[str, str], str]
    waived: frozenset[tuple[str, str]]

    def __str__(self) -> str:
        return ", ".join(
            f"{rule} of {table} (broken in {run}) {'is waived' if (table, rule) in self.waived else 'holds'}"
            for (table, rule), run in sorted(self.blocked.items())
        )


@task
def tell_mended() -> bool:
    """Alert once that the hour is published, if a gate had blocked it since it last was; the result is whether."""
    settings, context = Settings.load(), get_current_context()
    hour, branch = Hour.of_key(context["dag_run"].partition_key), context["ti"].xcom_pull("open_branch")
    results = gate_results.of_hour(settings, hour)
    with Nessie(settings.nessie_api) as nessie:
        mended = find_mended(results, branch, lambda other: turns.is_set_aside(nessie, other))
    if mended is None:
        return False
    alerts.warn(context, f"{hour} is mended and published: {mended}", branch=settings.branch, severity="success")
    return True


def find_mended(results: Iterable[Result], branch: str, is_set_aside: Callable[[str], bool]) -> Mended | None:
    """Return what blocked an hour between its publication before this one and this one; None if nothing did.

    Args:
        results: All verdicts of the hour.
        branch: That of the attempt which is published now.
        is_set_aside: Whether the attempt on a branch is known not to have been published.
    """
    attempts: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda result: result["checked_at"], reverse=True):
        attempts.setdefault(result["branch"], []).append(result)
    newest_first = list(attempts)
    blocked: dict[tuple[str, str], str] = {}
    for attempt in newest_first[newest_first.index(branch) :]:
        broken = [result for result in attempts[attempt] if result["verdict"] == "block"]
        if attempt != branch and not broken and not is_set_aside(attempt):
            # It published the hour, and told of what had blocked it before.
            break
        for result in broken:
            blocked.setdefault((result["table_name"], result["rule_id"]), result["run_id"])
    if not blocked:
        return None
    waived = {(row["table_name"], row["rule_id"]) for row in attempts[branch] if row["verdict"] == "waived"}
    return Mended(blocked, frozenset(waived & blocked.keys()))

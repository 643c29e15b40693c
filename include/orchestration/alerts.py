"""Alerts of Airflow's tasks: what happened, of which hour, and what to do."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from include.alerting import Severity, deliver
from include.orchestration.turn import FAILED
from include.settings import Settings

if TYPE_CHECKING:
    from include.quality.judgement import Verdict

log = logging.getLogger(__name__)

RUNBOOK = "docs/runbook.md"


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule, as a gate found it."""

    table: str
    rule: str
    description: str
    checked_count: int
    failed_count: int
    samples: tuple[Mapping[str, str | None], ...]


def findings_of(verdicts: Iterable[Verdict]) -> tuple[Finding, ...]:
    """Say what a gate found as an alert tells it."""
    return tuple(Finding(v.table, v.rule_id, v.promise, v.checked_count, v.failed_count, v.samples) for v in verdicts)


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person should know, with what they need to act.

    Args:
        severity: `failure` if the hour was not published, `warning` if it goes on, `success` if it is mended.
        summary: One sentence: what happened.
        hour: The partition key, None for work that has no hour.
        branch: The Nessie branch under which the attempt can be inspected, None where there is none.
        run_url: The page of the task's attempt in Airflow.
        runbook: Where it says what to do.
        branch_url: The page of the branch in Nessie.
    """

    severity: Severity
    summary: str
    dag_id: str
    task_id: str
    run_id: str
    try_number: int
    hour: str | None
    branch: str | None
    run_url: str
    runbook: str
    findings: tuple[Finding, ...] = ()
    branch_url: str | None = None

    @property
    def body(self) -> str:
        """The alert as a person reads it."""
        lines = [self.summary]
        for finding in self.findings:
            lines.append(
                f"- {finding.table}, rule {finding.rule} ({finding.description}): "
                f"{finding.failed_count} of {finding.checked_count} rows break it"
            )
            lines += [f"    {json.dumps(sample, ensure_ascii=False)}" for sample in finding.samples]
        facts = {
            "hour": self.hour,
            "branch": self.branch,
            "at": self.branch_url,
            "run": self.run_id,
            "log": self.run_url,
            "do": self.runbook,
        }
        return "\n".join([*lines, *(f"{name}: {value}" for name, value in facts.items() if value)])


def send(settings: Settings, alert: Alert) -> None:
    """Send an alert everywhere it should go; one way that fails does not stop the others.

    Raises:
        ExceptionGroup: If any way failed, after all were tried.
    """
    deliver(settings, asdict(alert), title=alert.summary, body=alert.body, severity=alert.severity)


def warn(
    context: Mapping[str, Any],
    summary: str,
    *,
    branch: str | None = None,
    findings: tuple[Finding, ...] = (),
    severity: Severity = "warning",
) -> None:
    """Alert of something that does not stop the hour; nor does an alert that cannot be delivered."""
    try:
        alert = from_context(context, summary, severity=severity, branch=branch, findings=findings)
        send(Settings.load(), alert)
    except ExceptionGroup:
        log.exception("the alert above did not reach everyone")


def from_context(
    context: Mapping[str, Any],
    summary: str,
    *,
    severity: Severity,
    branch: str | None = None,
    findings: tuple[Finding, ...] = (),
) -> Alert:
    """Make an alert of a task's Airflow context."""
    ti, run = context["ti"], context["dag_run"]
    return Alert(
        severity=severity,
        summary=summary,
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        try_number=ti.try_number,
        hour=run.partition_key,
        branch=branch,
        run_url=ti.log_url,
        runbook=f"{RUNBOOK}#{ti.task_id.partition('.')[0]}",
        findings=findings,
        branch_url=f"{Settings.load().nessie.url}/tree/{branch}" if branch else None,
    )


class AlertOnFailure(BaseNotifier):
    """Alerts once when a task has failed for good: from the task, or from the DAG processor if the task was killed."""

    def notify(self, context: Mapping[str, Any]) -> None:
        """Send the alert."""
        error = context.get("exception")
        hour = context["dag_run"].partition_key
        of_hour = f" of {hour}" if hour else ""
        summary = f"{context['ti'].task_id}{of_hour} failed: {error or 'its process ended without a word'}"
        findings = getattr(error, "findings", ())
        kept = _kept_branch(context)
        alert = from_context(context, summary, severity="failure", branch=kept, findings=findings)
        send(Settings.load(), alert)


def _kept_branch(context: Mapping[str, Any]) -> str | None:
    """Return the name under which the end of the turn keeps the attempt's branch, if it was not published."""
    branch, publication = (context["ti"].xcom_pull(task_ids=task_id) for task_id in ("open_branch", "publish"))
    return FAILED + branch if branch and not publication else None

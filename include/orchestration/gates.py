"""The gates: a layer's tables of one hour, on the attempt's branch, judged before anything builds on them.

The Great Expectations provider's own operators judge one frame each, and build it and import Great Expectations
wherever the DAG is parsed. This one judges a whole layer in one process, and does all that when it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from include.contracts.table import Layer
from include.orchestration import alerts
from include.orchestration.hours import Hour
from include.settings import Settings

if TYPE_CHECKING:
    from include.orchestration.judging import Judgement
    from include.quality.judgement import Verdict


class GateFailedError(AirflowFailException):
    """Rows broke a rule that blocks; trying again would find the same."""

    def __init__(self, message: str, findings: tuple[alerts.Finding, ...]) -> None:
        super().__init__(message)
        self.findings = findings


class QualityGate(BaseOperator):
    """Judges a layer's hour by its contracts and by what ties it to the layer before.

    A rule that blocks and that somebody has waived for the hour lets it through, with an alert that says who and why.
    Each verdict is kept in `ops.gate_results`, also when the gate blocks. The result is, by table, its rows, a hash of
    its content, the verdict and the rules that it was warned of.

    Args:
        layer: The layer to judge.
        branch: The Nessie branch to read; templated.
    """

    template_fields: Sequence[str] = ("branch",)
    ui_color = "#f9e2e2"

    def __init__(self, *, layer: Layer, branch: str, **kwargs: Any) -> None:  # noqa: ANN401 (Airflow's own arguments)
        super().__init__(**kwargs)
        self.layer = layer
        self.branch = branch

    def execute(self, context: Context) -> dict[str, dict[str, Any]]:
        """Read, judge, keep the verdicts, and block or let through.

        Raises:
            GateFailedError: If a blocking rule is broken.
        """
        from include.orchestration import gate_results
        from include.orchestration.judging import judge_hour

        settings = Settings.load()
        hour = Hour.of_key(context["dag_run"].partition_key)
        docs = settings.data_docs_dir / hour.key / str(self.layer)
        judgement = judge_hour(settings, self.layer, self.branch, hour, docs)
        for verdict in judgement.verdicts:
            self.log.info("%-6s %s", verdict.outcome, verdict)

        blocked = judgement.blocked
        pages = f"{settings.airflow_pages}/data_docs/{hour}/{self.layer}/index.html"
        failure = _failure(self.layer, hour, self.branch, blocked, pages) if blocked else None
        ti = context["ti"]
        attempt = gate_results.Attempt(hour.key, ti.run_id, ti.try_number, self.branch, datetime.now(UTC))
        try:
            gate_results.keep(settings, attempt, judgement.verdicts)
        except Exception as error:
            if failure is None:
                raise
            # That verdicts could not be kept must not hide what they say.
            self.log.exception("the verdicts could not be kept in ops.gate_results")
            raise failure from error
        if failure is not None:
            raise failure
        if warned := judgement.warned:
            waived = sum(verdict.waiver is not None for verdict in warned)
            summary = f"{self.layer} of {hour} goes on with {len(warned)} warnings"
            summary += f", {waived} of them of rules that would block it and are waived" if waived else ""
            alerts.warn(context, summary, branch=self.branch, findings=alerts.findings_of(warned))
        return _results(judgement)


def _results(judgement: Judgement) -> dict[str, dict[str, Any]]:
    from include.quality.judgement import Outcome, fingerprint, frame_name

    results = {}
    for table in judgement.tables:
        frame = judgement.frames[frame_name(table)]
        broken = [verdict for verdict in judgement.warned if verdict.table == table.full_name]
        is_waived = any(verdict.waiver for verdict in broken)
        results[table.full_name] = {
            "rows": frame.num_rows,
            # What stands at an offset never changes, so the offsets stand for Bronze's rows, payloads and all.
            "content_hash": fingerprint(frame.select(table.grain) if table.layer is Layer.BRONZE else frame),
            "verdict": str(Outcome.WAIVED if is_waived else Outcome.WARN if broken else Outcome.PASS),
            "warnings": [verdict.rule_id for verdict in broken],
        }
    return results


def _failure(layer: Layer, hour: Hour, branch: str, blocked: Sequence[Verdict], pages: str) -> GateFailedError:
    lines = [f"{layer} of {hour} on branch {branch} breaks {len(blocked)} rules, so the hour is not published"]
    for verdict in blocked:
        lines.append(f"- {verdict}")
        lines += [f"    {dict(sample)}" for sample in verdict.samples]
    lines.append(f"all that was judged: {pages}")
    return GateFailedError("\n".join(lines), alerts.findings_of(blocked))

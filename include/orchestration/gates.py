"""The gates: a layer's tables of one hour, on the attempt's branch, judged before anything builds on them.

The Great Expectations provider's own operators judge one frame each, and build it and import Great Expectations
wherever the DAG is parsed. This one judges a whole layer in one process, and does all that when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from include.contracts.table import Layer, Table
from include.orchestration import alerts
from include.orchestration.hours import Hour
from include.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from include.quality.judgement import Verdict


class GateFailedError(AirflowFailException):
    """Rows broke a rule that blocks; trying again would find the same."""

    def __init__(self, message: str, findings: tuple[alerts.Finding, ...]) -> None:
        super().__init__(message)
        self.findings = findings


class QualityGate(BaseOperator):
    """Judges a layer's hour by its contracts and by what ties it to the layer before.

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
        from include.orchestration import gate_results, hour_frames
        from include.quality import GATES
        from include.quality.judgement import Outcome, judge
        from include.renderers import gx

        gx.quieten()
        settings = Settings.load()
        hour = Hour.of_key(context["dag_run"].partition_key)
        frames = hour_frames.READERS[self.layer](settings, self.branch, hour)
        tables, checks = GATES[self.layer]
        verdicts = judge(tables, checks, frames)
        for verdict in verdicts:
            self.log.info("%-5s %s", verdict.outcome, verdict)

        blocked = [verdict for verdict in verdicts if verdict.outcome is Outcome.BLOCK]
        failure = _failure(self.layer, hour, self.branch, blocked) if blocked else None
        ti = context["ti"]
        attempt = gate_results.Attempt(hour.key, ti.run_id, ti.try_number, self.branch, datetime.now(UTC))
        try:
            gate_results.keep(settings, attempt, verdicts)
        except Exception as error:
            if failure is None:
                raise
            # That verdicts could not be kept must not hide what they say.
            self.log.exception("the verdicts could not be kept in ops.gate_results")
            raise failure from error
        if failure is not None:
            raise failure
        warned = [verdict for verdict in verdicts if verdict.outcome is Outcome.WARN]
        if warned:
            summary = f"{self.layer} of {hour} goes on with {len(warned)} warnings"
            alerts.warn(context, summary, branch=self.branch, findings=_findings(warned))
        return _results(tables, frames, warned)


def _results(
    tables: Sequence[Table], frames: Mapping[str, pa.Table], warned: Sequence[Verdict]
) -> dict[str, dict[str, Any]]:
    from include.quality.judgement import Outcome, fingerprint, frame_name

    results = {}
    for table in tables:
        frame = frames[frame_name(table)]
        warnings = [verdict.rule_id for verdict in warned if verdict.table == table.full_name]
        results[table.full_name] = {
            "rows": frame.num_rows,
            # Bronze is never rebuilt, so nobody compares it.
            "content_hash": None if table.layer is Layer.BRONZE else fingerprint(frame),
            "verdict": str(Outcome.WARN if warnings else Outcome.PASS),
            "warnings": warnings,
        }
    return results


def _failure(layer: Layer, hour: Hour, branch: str, blocked: Sequence[Verdict]) -> GateFailedError:
    lines = [f"{layer} of {hour} on branch {branch} breaks {len(blocked)} rules, so the hour is not published"]
    for verdict in blocked:
        lines.append(f"- {verdict}")
        lines += [f"    {dict(sample)}" for sample in verdict.samples]
    return GateFailedError("\n".join(lines), _findings(blocked))


def _findings(verdicts: Sequence[Verdict]) -> tuple[alerts.Finding, ...]:
    return tuple(
        alerts.Finding(v.table, v.rule_id, v.description, v.checked_count, v.failed_count, v.samples) for v in verdicts
    )

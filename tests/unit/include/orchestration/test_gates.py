"""What a gate does with what it found; the tables and the Thrift server are stood in for."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.contracts.table import Layer
from include.orchestration import alerts, gate_results, gates, hour_frames, judging, waivers
from include.orchestration.gates import GateFailedError, QualityGate
from include.quality.judgement import Outcome, Verdict, Waiver

pytestmark = pytest.mark.unit

GOOD = Verdict("gold.ohlcv_1m", "counts_silver", "a candle's volume and count are its trades'", Outcome.PASS, 60, 0)
BAD = Verdict("gold.ohlcv_1m", "every_minute", "a candle a minute", Outcome.BLOCK, 60, 1, ({"is_there": "False"},))
LEAVE = Waiver("gold.ohlcv_1m", "every_minute", failed_count=1, granted_by="ada", why="the exchange was down")
CONTEXT: Any = {
    "dag_run": SimpleNamespace(partition_key="2026-11-20T09"),
    "ti": SimpleNamespace(run_id="scheduled__1", try_number=1),
}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Verdict]]:
    """Say what the gate will find; returns what it keeps."""
    monkeypatch.setenv("LAKE_STATE_DIR", str(tmp_path))
    kept: list[Verdict] = []

    def find(*verdicts: Verdict, keep_error: Exception | None = None, leave: tuple[Waiver, ...] = ()) -> list[Verdict]:
        def keep(settings: Any, attempt: Any, given: list[Verdict]) -> None:
            if keep_error:
                raise keep_error
            kept.extend(given)

        monkeypatch.setitem(hour_frames.READERS, Layer.GOLD, lambda *_: {})
        monkeypatch.setattr(judging, "judge", lambda *_: list(verdicts))
        monkeypatch.setattr(gate_results, "keep", keep)
        monkeypatch.setattr(waivers, "holding", lambda *_: leave)
        monkeypatch.setattr(gates, "_results", lambda *_: {})
        return kept

    return find


def gate() -> QualityGate:
    return QualityGate(task_id="gate_gold", layer=Layer.GOLD, branch="hour-2026-11-20T09-0badcafe-1")


def test_a_broken_rule_blocks_and_its_verdicts_are_kept(found: Callable[..., list[Verdict]]):
    kept = found(GOOD, BAD)

    with pytest.raises(GateFailedError) as failed:
        gate().execute(CONTEXT)

    assert kept == [GOOD, BAD]
    assert [(finding.rule, finding.failed_count) for finding in failed.value.findings] == [("every_minute", 1)]
    assert "gold of 2026-11-20T09 on branch hour-2026-11-20T09-0badcafe-1 breaks 1 rules" in str(failed.value)
    assert "{'is_there': 'False'}" in str(failed.value)


def test_verdicts_that_cannot_be_kept_do_not_hide_a_broken_rule(found: Callable[..., list[Verdict]]):
    found(BAD, keep_error=ConnectionError("Thrift is down"))

    with pytest.raises(GateFailedError, match="breaks 1 rules"):
        gate().execute(CONTEXT)


def test_a_gate_whose_verdicts_cannot_be_kept_does_not_pass(found: Callable[..., list[Verdict]]):
    found(GOOD, keep_error=ConnectionError("Thrift is down"))

    with pytest.raises(ConnectionError, match="Thrift is down"):
        gate().execute(CONTEXT)


def test_what_holds_lets_the_hour_through(found: Callable[..., list[Verdict]]):
    kept = found(GOOD)

    assert gate().execute(CONTEXT) == {}
    assert kept == [GOOD]


def test_a_waived_rule_lets_the_hour_through_and_the_alert_says_by_whose_leave(
    found: Callable[..., list[Verdict]], monkeypatch: pytest.MonkeyPatch
):
    sent: list[tuple[str, tuple[alerts.Finding, ...]]] = []
    monkeypatch.setattr(alerts, "warn", lambda _, summary, *, branch, findings: sent.append((summary, findings)))
    kept = found(GOOD, BAD, leave=(LEAVE,))

    gate().execute(CONTEXT)

    assert [(verdict.rule_id, verdict.outcome) for verdict in kept] == [
        ("counts_silver", Outcome.PASS),
        ("every_minute", Outcome.WAIVED),
    ]
    ((summary, (finding,)),) = sent
    assert summary == (
        "gold of 2026-11-20T09 goes on with 1 warnings, 1 of them of rules that would block it and are waived"
    )
    assert (finding.rule, finding.description) == (
        "every_minute",
        "a candle a minute; waived by ada: the exchange was down",
    )


def test_another_broken_rule_blocks_beside_a_waived_one(found: Callable[..., list[Verdict]]):
    other = Verdict("gold.ohlcv_1h", "every_minute", "a candle a minute", Outcome.BLOCK, 60, 1)
    kept = found(BAD, other, leave=(LEAVE,))

    with pytest.raises(GateFailedError) as failed:
        gate().execute(CONTEXT)

    assert [finding.table for finding in failed.value.findings] == ["gold.ohlcv_1h"]
    assert [verdict.outcome for verdict in kept] == [Outcome.WAIVED, Outcome.BLOCK]

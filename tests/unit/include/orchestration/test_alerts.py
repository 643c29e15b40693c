import json
from pathlib import Path

import pytest

from include.orchestration.alerts import Alert, Finding, send
from include.settings import Settings

pytestmark = pytest.mark.unit

BROKEN = Finding("gold.ohlcv_1m", "high_is_highest", "high is the highest", 60, 1, ({"high": "1.00000000"},))
ALERT = Alert(
    severity="failure",
    summary="gate_gold of 2026-11-20T09 failed",
    dag_id="trades_hourly",
    task_id="gate_gold",
    run_id="scheduled__1",
    try_number=1,
    hour="2026-11-20T09",
    branch="failed-hour-2026-11-20T09-0badcafe-1",
    run_url="http://127.0.0.1:8081/dags/trades_hourly",
    runbook="docs/runbook.md#gate_gold",
    findings=(BROKEN,),
    branch_url="http://127.0.0.1:19120/tree/failed-hour-2026-11-20T09-0badcafe-1",
)


def test_an_alert_is_a_line_of_the_alerts_file(tmp_path: Path):
    settings = Settings(state_dir=tmp_path)

    send(settings, ALERT)
    send(settings, ALERT)

    first, second = (json.loads(line) for line in settings.alerts_file.read_text().splitlines())
    assert first["findings"] == [
        {
            "table": "gold.ohlcv_1m",
            "rule": "high_is_highest",
            "description": "high is the highest",
            "checked_count": 60,
            "failed_count": 1,
            "samples": [{"high": "1.00000000"}],
        }
    ]
    assert (second["hour"], second["branch"]) == ("2026-11-20T09", "failed-hour-2026-11-20T09-0badcafe-1")


def test_a_person_reads_the_rule_the_count_the_rows_and_what_to_do():
    assert ALERT.body.splitlines() == [
        "gate_gold of 2026-11-20T09 failed",
        "- gold.ohlcv_1m, rule high_is_highest (high is the highest): 1 of 60 rows break it",
        '    {"high": "1.00000000"}',
        "hour: 2026-11-20T09",
        "branch: failed-hour-2026-11-20T09-0badcafe-1",
        "at: http://127.0.0.1:19120/tree/failed-hour-2026-11-20T09-0badcafe-1",
        "run: scheduled__1",
        "log: http://127.0.0.1:8081/dags/trades_hourly",
        "do: docs/runbook.md#gate_gold",
    ]


def test_an_url_that_cannot_be_read_does_not_keep_the_alert_from_the_file(tmp_path: Path):
    settings = Settings(state_dir=tmp_path, alert_urls=("no-such-service://x",))

    with pytest.raises(ExceptionGroup, match="could not be sent everywhere"):
        send(settings, ALERT)

    assert len(settings.alerts_file.read_text().splitlines()) == 1

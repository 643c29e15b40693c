"""A bad hour is seen by nobody but the person who is alerted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyiceberg.expressions import EqualTo

from include.hours_page.grid import Status
from include.orchestration.nessie import Nessie
from include.orchestration.turn import forget
from tests.drivers.airflow import KEY, Airflow
from tests.drivers.demo import Demo
from tests.drivers.kafka import Kafka, received
from tests.drivers.lake import Lake
from tests.drivers.webhook import Webhook
from tests.truth.recorder import wire_time
from tests.truth.recording import Trade
from tests.truth.tape import HOUR, Tape

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PUBLISHED = (
    "silver.trades",
    "silver.trades_quarantine",
    "silver.trade_gaps",
    "silver.product_hours",
    "gold.ohlcv_1m",
    "gold.ohlcv_5m",
    "gold.ohlcv_1h",
    "gold.ohlcv_4h",
    "gold.ohlcv_1d",
    "gold.daily_metrics",
    "gold.price_latest",
)
WAIVE = "waive_rule"
TABLE = "silver.trades_quarantine"
RULES = ("quarantine_small", "quarantine_within_share")
"""What an hour breaks of which one row in ten is bad."""
WHY = "the rows were planted"


def spoiled(trades: list[Trade], count: int) -> list[bytes]:
    """Write frames of trades that were never made: known ids, and a price of nothing."""
    return [
        json.dumps(
            {
                "type": "match",
                "trade_id": trade.trade_id,
                "product_id": trade.product_id,
                "price": "0",
                "size": "1",
                "side": "buy",
                "sequence": trade.trade_id,
                "time": wire_time(trade.time),
            }
        ).encode()
        for trade in trades[:count]
    ]


def test_a_bad_hour_fails_its_run_at_once_alerts_and_leaves_what_readers_see_alone(
    demo: Demo, airflow: Airflow, kafka: Kafka, lake: Lake, tape: Tape, chat: Webhook
):
    hour = demo.hours[0]
    key = hour.strftime(KEY)
    trades = tape.trades("BTC-USD", hour, hour + HOUR)
    bad_rows = sum(len(tape.trades(product, hour, hour + HOUR)) for product in tape.products) // 10
    airflow.calm(timedelta(minutes=3))
    alerts_before, posts_before = len(demo.alerts()), len(chat.posts)
    published, branches = lake.contents(PUBLISHED), set(lake.references())

    headers = received(datetime.now(UTC)).items()
    kafka.produce("coinbase.raw.trades", "BTC-USD", spoiled(trades, bad_rows), headers)
    run = airflow.ended(airflow.trigger(hour), within=600)

    tasks = {task["task_id"]: task for task in airflow.tasks(run["dag_run_id"])}
    assert run["state"] == "failed"
    assert (tasks["gate_silver"]["state"], tasks["gate_silver"]["try_number"]) == ("failed", 1)
    assert tasks["publish"]["state"] in ("upstream_failed", "skipped")
    assert airflow.status_shown("silver.trades", hour) == Status.FAILED_GATE
    assert lake.contents(PUBLISHED) == published, "readers see another table than before"

    (branch,) = {name for name in lake.references() if name not in branches and name != "turn"}
    assert branch.startswith("failed-")
    quarantined = lake.rows("silver.trades_quarantine", EqualTo("hour_start", hour.isoformat()), ref=branch)
    assert quarantined["rule_id"].to_list() == ["price_positive"] * bad_rows

    (alert,) = [alert for alert in demo.alerts()[alerts_before:] if alert["severity"] == "failure"]
    assert (alert["hour"], alert["branch"], alert["run_id"]) == (key, branch, run["dag_run_id"])
    assert {(finding["table"], finding["rule"]) for finding in alert["findings"]} == {(TABLE, rule) for rule in RULES}
    for finding in alert["findings"]:
        assert finding["failed_count"] == 1
        assert finding["samples"][0]["quarantined_count"] == str(bad_rows)

    (post,) = [post for post in chat.posts[posts_before:] if post["type"] == "failure"]
    assert all(fact in post["message"] for fact in (key, branch, TABLE, *RULES, f"data_docs/{key}/silver/index.html"))

    verdicts = lake.rows("ops.gate_results", EqualTo("run_id", run["dag_run_id"]))
    blocked = verdicts.filter(verdict="block").select("table_name", "partition_key", "rule_id").rows()
    assert sorted(blocked) == [(TABLE, key, rule) for rule in RULES]


def test_a_blocked_hour_is_published_when_a_person_has_waived_each_rule_that_blocks_it(
    demo: Demo, airflow: Airflow, lake: Lake, chat: Webhook
):
    hour = demo.hours[0]
    key = hour.strftime(KEY)
    known = {run["dag_run_id"] for run in airflow.runs(hour)}
    posts_before = len(chat.posts)

    stranger = airflow.do(WAIVE, {"hour": key, "table": TABLE, "rule": "quarantine_empty", "why": WHY}, within=120)
    assert stranger["state"] == "failed", "a rule that blocks nothing is not to be waived"
    rejected = waive(airflow, key, RULES[0], "Reject")
    first = waive(airflow, key, RULES[0], "Approve")

    assert (rejected["state"], first["state"]) == ("success", "success")
    assert f"Not built again: {RULES[1]} of {TABLE} blocks {key}, too" in first["note"]
    assert {run["dag_run_id"] for run in airflow.runs(hour)} == known
    second = waive(airflow, key, RULES[1], "Approve")
    (rebuild,) = [run["dag_run_id"] for run in airflow.runs(hour) if run["dag_run_id"] not in known]
    assert rebuild in second["note"]
    assert airflow.ended(rebuild, within=600)["state"] == "success"

    kept = lake.rows("ops.waivers", EqualTo("partition_key", key))
    assert sorted(kept.select("table_name", "rule_id", "granted_by", "why", "holds_until").rows()) == [
        (TABLE, rule, "admin", WHY, None) for rule in RULES
    ]
    verdicts = lake.rows("ops.gate_results", EqualTo("run_id", rebuild))
    assert sorted(verdicts.filter(verdict="waived").select("table_name", "rule_id").rows()) == [
        (TABLE, rule) for rule in RULES
    ]
    assert verdicts.filter(verdict="block").is_empty()
    assert not lake.rows("silver.trades_quarantine", EqualTo("hour_start", hour.isoformat())).is_empty()

    posts = chat.posts[posts_before:]
    (warning,) = [post for post in posts if post["type"] == "warning" and f"silver of {key}" in post["message"]]
    assert f"waived by admin: {WHY}" in warning["message"]
    (mended,) = [post for post in posts if "is mended" in post["message"]]
    assert mended["type"] == "success"
    assert all(f"{rule} of {TABLE}" in mended["message"] for rule in RULES)
    assert "is waived" in mended["message"]


def waive(airflow: Airflow, key: str, rule: str, answer: str) -> dict[str, Any]:
    """Ask for a waiver, answer the question as a person does, and return the run when it has ended."""
    run_id = airflow.begin(WAIVE, {"hour": key, "table": TABLE, "rule": rule, "why": WHY})
    question = airflow.question(WAIVE, run_id, "ask_person")
    assert all(fact in question["subject"] for fact in (key, TABLE, rule))
    assert all(fact in question["body"] for fact in ("1 of ", WHY, "failed-hour-", "quarantined_count"))
    airflow.answer(WAIVE, run_id, "ask_person", answer)
    return airflow.end_of(WAIVE, run_id, within=180)


def test_what_a_failed_attempt_left_is_forgotten_once_it_is_old(demo: Demo, lake: Lake):
    kept = {name for name in lake.references() if name.startswith("failed-")}
    assert kept, "the test before leaves a failed branch"

    with Nessie(demo.stack.settings.nessie_api) as nessie:
        now = datetime.now(UTC)
        assert forget(nessie, before=now - timedelta(days=1)) == []
        assert set(forget(nessie, before=now + timedelta(days=1))) == kept

    assert not kept & set(lake.references())

"""A bad hour is seen by nobody but the person who is alerted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyiceberg.expressions import EqualTo

from include.orchestration.nessie import Nessie
from include.orchestration.turn import forget
from tests.drivers.airflow import KEY, Airflow
from tests.drivers.demo import Demo
from tests.drivers.kafka import Kafka
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
    "gold.ohlcv_1h",
    "gold.daily_metrics",
    "gold.price_latest",
)


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
    alerts_before, posts_before = len(alerts(demo)), len(chat.posts)
    published, branches = lake.contents(PUBLISHED), set(lake.references())

    received_at = str(int(datetime.now(UTC).timestamp() * 1_000_000))
    headers = (
        ("source", "ws"),
        ("frame_index", "0"),
        ("received_at", received_at),
        ("venue", "coinbase"),
        ("market", "spot"),
    )
    kafka.produce("coinbase.raw.trades", "BTC-USD", spoiled(trades, bad_rows), headers)
    run = airflow.ended(airflow.trigger(hour), within=600)

    tasks = {task["task_id"]: task for task in airflow.tasks(run["dag_run_id"])}
    assert run["state"] == "failed"
    assert (tasks["gate_silver"]["state"], tasks["gate_silver"]["try_number"]) == ("failed", 1)
    assert tasks["publish"]["state"] in ("upstream_failed", "skipped")
    assert lake.contents(PUBLISHED) == published, "readers see another table than before"

    (branch,) = {name for name in lake.references() if name not in branches and name != "turn"}
    assert branch.startswith("failed-")
    quarantined = lake.rows("silver.trades_quarantine", EqualTo("hour_start", hour.isoformat()), ref=branch)
    assert quarantined["rule_id"].to_list() == ["price_positive"] * bad_rows

    (alert,) = [alert for alert in alerts(demo)[alerts_before:] if alert["severity"] == "failure"]
    assert (alert["hour"], alert["branch"], alert["run_id"]) == (key, branch, run["dag_run_id"])
    (finding,) = alert["findings"]
    assert (finding["table"], finding["rule"]) == ("silver.trades_quarantine", "quarantine_small")
    assert finding["failed_count"] == 1
    assert finding["samples"][0]["quarantined_count"] == str(bad_rows)

    (post,) = [post for post in chat.posts[posts_before:] if post["type"] == "failure"]
    assert all(fact in post["message"] for fact in (key, branch, "quarantine_small", "silver.trades_quarantine"))

    verdicts = lake.rows("ops.gate_results", EqualTo("run_id", run["dag_run_id"]))
    blocked = verdicts.filter(verdict="block").select("table_name", "partition_key", "rule_id").rows()
    assert blocked == [("silver.trades_quarantine", key, "quarantine_small")]


def test_what_a_failed_attempt_left_is_forgotten_once_it_is_old(demo: Demo, lake: Lake):
    kept = {name for name in lake.references() if name.startswith("failed-")}
    assert kept, "the test before leaves a failed branch"

    with Nessie(demo.stack.settings.nessie_api) as nessie:
        now = datetime.now(UTC)
        assert forget(nessie, before=now - timedelta(days=1)) == []
        assert set(forget(nessie, before=now + timedelta(days=1))) == kept

    assert not kept & set(lake.references())


def alerts(demo: Demo) -> list[dict[str, Any]]:
    """Read all alerts so far."""
    file = demo.stack.settings.alerts_file
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

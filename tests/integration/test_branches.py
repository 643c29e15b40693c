"""A branch for a person: a model is changed on it, readers see nothing of it, it is compared, merged and undone."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyhive import hive

from include.orchestration.branches import PREFIX, end, is_merged
from include.orchestration.nessie import Nessie
from include.orchestration.turn import CLOCK_SKEW, forget
from include.settings import CHECKOUT
from tests.drivers.airflow import KEY, Airflow
from tests.drivers.demo import Demo
from tests.drivers.lake import Lake
from tests.drivers.running_stack import RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

DAYS = "gold.daily_metrics"
WIDE = "gold.ohlcv_4h"


@pytest.fixture(scope="module")
def changed_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dbt project with one model changed: a deviation over all closes, not over one less."""
    project = tmp_path_factory.mktemp("changed") / "dbt_project"
    shutil.copytree(CHECKOUT / "dbt_project", project)
    model = project / "models" / "marts" / "daily_metrics.sql"
    text = model.read_text(encoding="utf-8")
    assert "(return_count - 1)" in text
    model.write_text(text.replace("(return_count - 1)", "return_count"), encoding="utf-8")
    return project


def done(stack: RunningStack, *arguments: str, timeout: float = 300) -> str:
    """Run a command that must succeed, and return what it printed."""
    result = stack.command(*arguments, timeout=timeout)
    assert result.returncode == 0, result.stdout
    return result.stdout


def refused(stack: RunningStack, *arguments: str, timeout: float = 300) -> str:
    result = stack.command(*arguments, timeout=timeout)
    assert result.returncode == 1, result.stdout
    return result.stdout


def rebuild_days(demo: Demo, branch: str, *options: str) -> None:
    """Run dbt's model of a day on a branch."""
    hour = demo.hours[-1].strftime(KEY)
    done(demo.stack, "dbt", "--branch", branch, "--hour", hour, "run", "--select", "daily_metrics", *options)


def days(lake: Lake, ref: str = "main") -> pl.DataFrame:
    return lake.rows(DAYS, ref=ref).sort("product_id", "date")


def test_a_changed_model_is_seen_on_its_branch_alone_until_it_is_merged_and_is_undone_the_same_way(
    demo: Demo, airflow: Airflow, lake: Lake, changed_project: Path
):
    stack = demo.stack
    # An hour that is published meanwhile would change the same table.
    airflow.calm(timedelta(minutes=6))
    before, names = days(lake), set(lake.references())

    assert "--branch deviation" in done(stack, "branch", "create", "deviation")
    done(stack, "branch", "create", "too-late")
    rebuild_days(demo, "deviation", "--project-dir", str(changed_project))

    changed = days(lake, "dev-deviation")
    columns = [name for name in before.columns if name != "volatility"]
    differing = (changed["volatility"].fill_null(-1) != before["volatility"].fill_null(-1)).sum()
    assert_frame_equal(changed.select(columns), before.select(columns))
    assert differing > 0
    assert_frame_equal(days(lake), before)
    said = done(stack, "branch", "diff", "deviation")
    assert f"{DAYS}: changed" in said
    assert f"{before.height} rows, +0 -0 ~{differing}" in said

    head, began = lake.references()["dev-deviation"], datetime.now(UTC) - CLOCK_SKEW
    assert f"dev-deviation is merged: {DAYS}" in done(stack, "branch", "merge", "deviation", timeout=900)
    assert_frame_equal(days(lake), changed)
    verdicts = lake.rows("ops.gate_results").filter(pl.col("branch") == "dev-deviation")
    assert set(verdicts["verdict"]) == {"pass"}
    assert set(verdicts["table_name"]) >= {DAYS, WIDE}

    with Nessie(stack.settings.nessie_api) as nessie:
        # What a try finds that follows one which was cut off after its merge.
        assert is_merged(nessie, head, into="main", since=began)
        assert end(nessie, "deviation", head)
        assert not is_merged(nessie, lake.references()["dev-too-late"], into="main", since=began)

    # What left main before that merge and changed the same table cannot be merged any more.
    rebuild_days(demo, "too-late", "--project-dir", str(changed_project))
    assert f"has changed {DAYS} since dev-too-late left it" in refused(stack, "branch", "merge", "too-late")

    done(stack, "branch", "create", "undo")
    rebuild_days(demo, "undo")
    done(stack, "branch", "merge", "undo", timeout=900)
    assert_frame_equal(days(lake), before)

    with Nessie(stack.settings.nessie_api) as nessie:
        now = datetime.now(UTC)
        assert forget(nessie, before=now - timedelta(days=1), beginnings=(PREFIX,)) == []
        assert forget(nessie, before=now + timedelta(days=1), beginnings=(PREFIX,)) == ["dev-too-late"]
    assert set(lake.references()) - {"turn"} == names - {"turn"}


def test_what_the_gates_would_block_is_not_merged_and_the_dag_does_all_that_the_commands_do(
    demo: Demo, airflow: Airflow, lake: Lake
):
    stack = demo.stack
    airflow.calm(timedelta(minutes=4))
    before = lake.rows(WIDE).sort("product_id", "window_start")
    failures = len(demo.alerts())

    created = airflow.do("branches", {"action": "create", "name": "holed"}, within=300)
    assert (created["state"], created["note"][:9]) == ("success", "dev-holed")
    ref = {"set:hiveconf:spark.sql.catalog.lake.ref": "dev-holed"}
    thrift = stack.settings.thrift
    with hive.connect(thrift.host, thrift.port, username="tests", configuration=ref) as session:
        session.cursor().execute(f"delete from lake.{WIDE} where product_id = 'BTC-USD'")

    compared = airflow.do("branches", {"action": "diff", "name": "holed"}, within=300)
    gone = before.filter(product_id="BTC-USD").height
    assert compared["state"] == "success"
    assert f"{WIDE}: changed" in compared["note"]
    assert f"{before.height - gone} rows, +0 -{gone} ~0" in compared["note"]
    assert "rolls_up_1h" in refused(stack, "gate", "--branch", "holed", "--hour", demo.hours[-1].strftime(KEY))

    merged = airflow.do("branches", {"action": "merge", "name": "holed"}, within=900)
    assert merged["state"] == "failed"
    assert_frame_equal(lake.rows(WIDE).sort("product_id", "window_start"), before)
    assert "turn" not in lake.references()
    alerts = [alert for alert in demo.alerts()[failures:] if alert["run_id"] == merged["dag_run_id"]]
    assert any("rolls_up_1h" in alert["summary"] for alert in alerts), alerts

    assert airflow.do("branches", {"action": "drop", "name": "holed"}, within=300)["state"] == "success"
    assert "dev-holed" not in lake.references()

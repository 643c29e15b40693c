"""What a person asks for, and what that covers; the lake's rows are stood in for."""

from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from include.orchestration import gate_results, waivers
from include.orchestration.hours import Hour
from include.orchestration.waivers import Block, Wish, still_blocking
from include.quality.judgement import Waiver
from include.settings import Settings

pytestmark = pytest.mark.unit

HOUR = Hour.of_key("2026-11-20T09")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FORM = {
    "hour": "2026-11-20T09",
    "table": "gold.ohlcv_1m",
    "rule": " every_minute ",
    "why": "a halt",
    "holds_until": None,
}


def result(rule_id: str, verdict: str, *, at: datetime = NOON) -> dict[str, Any]:
    return {
        "table_name": "gold.ohlcv_1m",
        "rule_id": rule_id,
        "verdict": verdict,
        "checked_count": 60,
        "failed_count": 1,
        "samples": None,
        "run_id": f"run at {at:%H}",
        "branch": f"hour-{at:%H}",
        "checked_at": at,
    }


def test_a_form_is_read_with_its_hour_and_the_end_in_utc():
    until = Wish.of(FORM | {"holds_until": "2026-11-21T00:00:00+01:00"})

    assert Wish.of(FORM) == Wish("2026-11-20T09", "gold.ohlcv_1m", "every_minute", "a halt", None)
    assert until.holds_until == "2026-11-20T23:00:00+00:00"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("why", "  ", "does not say why"),
        ("hour", "", "does not say hour"),
        ("hour", "2026-11-20", "'2026-11-20' is not an hour"),
        ("holds_until", "tomorrow", "tomorrow"),
    ],
)
def test_a_form_that_cannot_be_read_says_where(field: str, value: str, said: str):
    with pytest.raises(ValueError, match=said):
        Wish.of(FORM | {field: value})


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Say which rows the lake has."""

    def holds(found: list[Mapping[str, Any]]) -> Settings:
        monkeypatch.setattr(waivers, "open_catalog", lambda *_: nullcontext())
        monkeypatch.setattr(waivers, "rows", lambda *_: pa.Table.from_pylist(found))
        monkeypatch.setattr(gate_results, "of_hour", lambda *_: found)
        return Settings()

    return holds


def test_a_waiver_holds_until_its_end(lake: Any):
    row = {"table_name": "gold.ohlcv_1m", "rule_id": "every_minute", "failed_count": 1, "granted_by": "ada"}
    ends = {"for ever": None, "still": NOON + timedelta(seconds=1), "over": NOON}
    settings = lake([row | {"why": why, "granted_at": NOON, "holds_until": end} for why, end in ends.items()])

    assert [waiver.why for waiver in waivers.holding(settings, HOUR, NOON)] == ["for ever", "still"]


def test_only_what_blocks_the_newest_attempt_blocks(lake: Any):
    earlier = NOON - timedelta(hours=1)
    settings = lake(
        [result("prices_silver", "block", at=earlier), result("every_minute", "block"), result("counts_silver", "pass")]
    )

    assert [(block.rule_id, block.branch) for block in waivers.blocks(settings, HOUR)] == [("every_minute", "hour-12")]


def test_an_hour_that_passed_since_is_not_blocked(lake: Any):
    earlier = NOON - timedelta(hours=1)

    assert (
        waivers.blocks(lake([result("every_minute", "block", at=earlier), result("every_minute", "pass")]), HOUR) == []
    )
    assert waivers.blocks(lake([]), HOUR) == []


def test_what_no_waiver_names_still_blocks():
    one, other = (
        Block("gold.ohlcv_1m", rule, 60, 1, None, "run", "branch") for rule in ("every_minute", "prices_silver")
    )
    leave = Waiver("gold.ohlcv_1m", "every_minute", 1, "ada", "a halt")

    assert still_blocking([one, other], [leave]) == [other]

"""What a person's branch may be called, and what keeps it from being merged."""

from __future__ import annotations

import pytest

from include.orchestration.branches import BranchError, Changes, TableChange, branch_name, refuse_unmergeable
from include.orchestration.nessie import Content

pytestmark = pytest.mark.unit


def changes(*tables: tuple[str, bool]) -> Changes:
    """Make a branch that changed tables, some of which `main` changed, too."""
    old, new = Content("t", "ICEBERG_TABLE", "a", 1), Content("t", "ICEBERG_TABLE", "b", 2)
    return Changes("dev-x", "base", "head", 0, tuple(TableChange(name, old, new, both) for name, both in tables))


@pytest.mark.parametrize("name", ["x", "dev-x"])
def test_a_branch_of_a_person_is_known_by_its_beginning(name: str):
    assert branch_name(name) == "dev-x"


@pytest.mark.parametrize("name", ["main", "turn", "hour-2026-11-20T09-1a2b-1", "failed-hour-x", "claim-1"])
def test_a_name_that_the_pipeline_uses_is_refused_and_another_is_proposed(name: str):
    with pytest.raises(BranchError, match=r"is the pipeline's own: choose another, such as"):
        branch_name(name)


@pytest.mark.parametrize("name", ["a/b", "a b", "A", "", "dev-", "-a", "a-", "a.b", "a@b", "x" * 41, "ä", "a\n"])
def test_a_name_that_addresses_or_sql_cannot_carry_is_refused(name: str):
    with pytest.raises(BranchError, match="use up to 40 small letters, digits and dashes"):
        branch_name(name)


def test_silver_and_gold_that_main_has_left_alone_may_be_merged():
    refuse_unmergeable(changes(("silver.trades", False), ("gold.ohlcv_1h", False)))


def test_a_branch_that_changed_nothing_is_not_merged():
    with pytest.raises(BranchError, match="nothing to merge"):
        refuse_unmergeable(changes())


def test_what_is_appended_to_on_main_is_not_merged():
    with pytest.raises(BranchError, match=r"changed bronze\.trades, ops\.gate_results: only Silver and Gold"):
        refuse_unmergeable(changes(("bronze.trades", False), ("ops.gate_results", True), ("gold.ohlcv_1h", False)))


def test_a_table_that_both_sides_changed_is_named_with_what_to_do():
    with pytest.raises(BranchError, match=r"main has changed gold\.ohlcv_1h since dev-x left it.* create it again"):
        refuse_unmergeable(changes(("gold.ohlcv_1h", True), ("gold.ohlcv_1m", False)))

"""How a page of the documentation is read before its snippets are run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.settings import CHECKOUT
from tests.drivers.page import Rows, Snippet, Values, run_sql, snippets

pytestmark = pytest.mark.unit


def test_snippets_come_from_above_to_below_with_their_kind_and_line(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```sql fails\nSELECT 1\nFROM a\n```\n\nb `c`\n\n```text\nd\n```\n")

    assert list(snippets(page)) == [Snippet("sql fails", "SELECT 1\nFROM a", 3), Snippet("text", "d", 10)]


def test_a_value_of_the_first_row_is_put_into_later_statements_and_times_are_left_alone():
    values = Values()
    values.learn(Rows(["moment", "id"], [(datetime(2026, 11, 20, 9, tzinfo=UTC), 7), (None, 8)]))

    assert values.fill("timestamp ':moment' or :id, '09:00:00', a::b") == (
        "timestamp '2026-11-20 09:00:00.000000' or 7, '09:00:00', a::b"
    )
    with pytest.raises(KeyError, match="other"):
        values.fill(":other")


@pytest.mark.parametrize("rows", [[], [(True,), (False,)], [(None,)], [("true",)]])
def test_what_is_promised_must_be_said_and_be_true_in_every_row(rows: list[tuple[object]]):
    with pytest.raises(AssertionError, match="is_there"):
        Values().learn(Rows(["is_there"], rows))


def test_a_statement_that_fails_says_where_it_stands(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("```sql\nSELECT 1\n```\n\n```sql\nSELECT 2\n```\n")

    with pytest.raises(AssertionError, match=r"page\.md, line 5: .*is_one"):
        run_sql(page, "sql", lambda text: Rows(["is_one"], [(text == "SELECT 1",)]))


def test_the_page_on_iceberg_has_snippets_for_trino():
    assert any(snippet.kind == "sql trino" for snippet in snippets(CHECKOUT / "docs" / "iceberg.md"))

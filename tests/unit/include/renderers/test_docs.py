from datetime import timedelta

import pytest

from include.contracts import TABLES, TOPICS
from include.renderers.__main__ import generated_files
from include.renderers.docs import span, tables_page

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("path", "text"), generated_files(), ids=lambda value: getattr(value, "name", ""))
def test_generated_files_are_current(path, text):
    assert path.read_text(encoding="utf-8") == text, f"{path} is stale: run `python -m include.renderers`"


def test_the_page_names_every_table_column_rule_and_topic():
    page = tables_page()
    columns = {f"| `{column.name}` |" for table in TABLES for column in table.columns}
    rules = {f"| `{rule.id}` |" for table in TABLES for rule in table.rules}
    headings = {f"### {table.full_name}\n" for table in TABLES}
    topics = {f"| `{topic.name}` |" for topic in TOPICS}

    assert [words for words in columns | rules | headings | topics if words not in page] == []


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(days=30), "30 days"),
        (timedelta(hours=24), "1 day"),
        (timedelta(hours=2), "2 hours"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(seconds=10), "10 seconds"),
    ],
)
def test_a_span_is_said_in_its_largest_whole_unit(length, words):
    assert span(length) == words

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from include.contracts import TABLES, TOPICS, bronze, gold, silver, table
from include.contracts.table import LONG, Action, Column, Layer, Table
from include.contracts.topics import Header
from include.contracts.venues import VENUES

pytestmark = pytest.mark.unit

every_table = pytest.mark.parametrize("contract", TABLES, ids=lambda contract: contract.full_name)


def test_no_two_tables_share_a_name():
    assert len({contract.full_name for contract in TABLES}) == len(TABLES)


@every_table
def test_a_table_describes_itself_and_its_columns_in_sentences(contract):
    words = [contract.description, *(column.description for column in contract.columns)]

    assert [text for text in words if not re.fullmatch(r"[A-Z`0-9].*[.]|[a-z`(_].*[.]", text)] == []


@every_table
def test_the_columns_of_a_grain_are_required(contract):
    assert [name for name in contract.grain if not contract.column(name).required] == []


@every_table
def test_partitions_and_order_are_made_of_the_tables_columns(contract):
    words = {
        word for clause in (*contract.partitioned_by, *contract.sorted_by) for word in re.findall(r"[a-z_]+", clause)
    }

    assert words - set(contract.column_names) <= {"days", "months"}


@every_table
def test_the_rules_of_a_table_have_names_of_their_own(contract):
    assert len({rule.id for rule in contract.rules}) == len(contract.rules)


def test_rows_are_put_into_quarantine_only_where_there_is_one():
    assert [t for t in TABLES if any(r.action is Action.QUARANTINE for r in t.rules)] == [silver.TRADES]


def test_every_topic_that_bronze_reads_commits_to_the_group_of_its_table():
    streamed = {contract.full_name for contract in bronze.TABLES}

    assert {topic.consumer_group for topic in TOPICS if topic.consumer_group} == streamed


@pytest.mark.parametrize("topic", [t for t in TOPICS if t.consumer_group], ids=lambda topic: topic.name)
def test_a_venue_has_other_names_only_for_columns_of_the_table_that_its_topic_fills(topic):
    assert {*topic.fields, *(topic.rest_fields or ())} <= set(table(topic.consumer_group).column_names)


@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: venue.name)
def test_every_venue_has_topics_and_words_for_both_sides(venue):
    assert any(topic.name.startswith(f"{venue.name}.raw.") for topic in TOPICS)
    assert sorted(venue.sides.values()) == ["buy", "sell"]


def test_a_topic_of_a_venue_implies_the_venue():
    of_venues = {topic.name: topic for topic in TOPICS if not topic.name.startswith("ingestion.")}

    assert {name: topic.implied[Header.VENUE] for name, topic in of_venues.items()} == {
        name: name.split(".")[0] for name in of_venues
    }


def test_a_header_is_called_what_the_column_from_it_is_called():
    columns = {name.lstrip("_") for name in bronze.TRADES.column_names}

    assert {Header.SOURCE, Header.FRAME_INDEX, Header.VENUE, Header.MARKET} <= columns


def test_a_contract_that_contradicts_itself_names_every_fault():
    with pytest.raises(ValueError, match=r"bronze\.x: column id stands twice; grain names day, .*; hour_column hour"):
        Table(
            layer=Layer.BRONZE,
            name="x",
            description="X.",
            owner="x",
            columns=(Column("id", LONG, "Id."), Column("id", LONG, "Id.")),
            grain=("day",),
            hour_column="hour",
        )


def test_a_window_is_whole_hours_that_divide_a_day():
    for width in (timedelta(minutes=30), timedelta(hours=5), timedelta(days=2)):
        with pytest.raises(ValueError, match=r"gold\.ohlcv_4h: a window of .* divide a day"):
            replace(gold.OHLCV_4H, window=width)


def test_an_unknown_table_is_answered_with_the_known_ones():
    with pytest.raises(KeyError, match=r"no table silver\.nothing.*silver\.trades"):
        table("silver.nothing")


def test_an_unknown_column_is_answered_with_the_known_ones():
    with pytest.raises(KeyError, match=r"no column nothing.*price"):
        silver.TRADES.column("nothing")


def test_a_column_can_be_made_optional_and_described_for_one_table_only():
    price = silver.TRADES.column("price")

    assert price.optional("Why not.") == replace(price, required=False, description="Why not.")
    assert silver.TRADES.column("price").required

"""What dbt is told follows from the contracts alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from include.contracts import gold, silver
from include.renderers import dbt
from include.settings import CHECKOUT

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def documents() -> dict[str, dict]:
    return {str(path.relative_to(dbt.MODELS)): yaml.safe_load(text) for path, text in dbt.files().items()}


@pytest.fixture(scope="module")
def models(documents: dict[str, dict]) -> dict[str, dict]:
    return {model["name"]: model for document in documents.values() for model in document.get("models", [])}


@pytest.mark.parametrize(("path", "text"), dbt.files().items(), ids=str)
def test_the_committed_yaml_is_current(path: Path, text: str):
    assert (CHECKOUT / path).read_text(encoding="utf-8") == text, f"{path} is stale: python -m include.renderers"


def test_every_gold_contract_is_the_contract_of_one_model_beside_its_query(documents: dict[str, dict]):
    contracts = {
        f"{path.partition('/')[0]}/{model['name']}.sql"
        for path, document in documents.items()
        for model in document.get("models", [])
    }
    folder = CHECKOUT / dbt.MODELS
    queries = {str(path.relative_to(folder)) for path in folder.glob("*/*.sql")}

    assert contracts == queries
    assert {Path(name).stem for name in contracts} == {table.name for table in (*gold.TABLES, *gold.VIEWS)}


def test_silver_is_read_from_the_lakes_catalog(documents: dict[str, dict]):
    (source,) = documents["staging/_sources.yml"]["sources"]

    assert (source["name"], source["schema"]) == ("silver", "lake.silver")
    assert [table["name"] for table in source["tables"]] == [table.name for table in silver.TABLES]


def test_a_model_must_return_the_columns_of_its_contract_with_their_types(models: dict[str, dict]):
    model = models["price_latest"]

    assert model["config"]["contract"] == {"enforced": True}
    assert [(column["name"], column["data_type"]) for column in model["columns"]] == [
        ("venue", "string"),
        ("market", "string"),
        ("product_id", "string"),
        ("price", "decimal(18,8)"),
        ("updated_at", "timestamp"),
    ]


def test_a_run_replaces_the_hour_what_encloses_it_or_all_of_a_table(models: dict[str, dict]):
    windows = {name: model["config"]["meta"].get("window") for name, model in models.items()}

    assert windows["ohlcv_1h"] == {"column": "window_start", "type": "timestamp", "hours": 1}
    assert windows["ohlcv_4h"] == {"column": "window_start", "type": "timestamp", "hours": 4}
    assert windows["daily_metrics"] == {"column": "date", "type": "date", "hours": 24}
    assert windows["price_latest"] is None


def test_the_grain_the_required_columns_and_each_rule_of_a_table_are_one_test(models: dict[str, dict]):
    (test,) = models["price_latest"]["data_tests"]

    assert test["keeps_contract"]["arguments"] == {
        "grain": ["venue", "market", "product_id"],
        "promises": [
            {"id": "venue_present", "condition": "venue IS NOT NULL"},
            {"id": "market_present", "condition": "market IS NOT NULL"},
            {"id": "product_id_present", "condition": "product_id IS NOT NULL"},
            {"id": "price_present", "condition": "price IS NOT NULL"},
            {"id": "updated_at_present", "condition": "updated_at IS NOT NULL"},
            {"id": "price_positive", "condition": "price > 0"},
        ],
    }


def test_a_table_is_tested_in_the_window_that_a_run_replaces(models: dict[str, dict]):
    (test,) = models["daily_metrics"]["data_tests"]

    assert test["keeps_contract"]["arguments"]["window"] == {"column": "date", "type": "date", "hours": 24}


def test_a_view_has_a_contract_but_no_tests_of_rows(models: dict[str, dict]):
    assert "data_tests" not in models["int_trades_enriched"]
    assert models["int_trades_enriched"]["config"]["contract"] == {"enforced": True}

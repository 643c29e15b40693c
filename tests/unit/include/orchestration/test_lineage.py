from typing import Any

import pytest

from include.contracts import bronze, gold, silver
from include.orchestration.lineage import inputs, read_by_model

pytestmark = pytest.mark.unit


def model(name: str, *reads: str, materialized: str = "view") -> dict[str, Any]:
    return {"name": name, "depends_on": {"nodes": list(reads)}, "config": {"materialized": materialized}}


MANIFEST = {
    "sources": {
        "source.lake.silver.trades": {"source_name": "silver", "name": "trades"},
        "source.lake.silver.trade_gaps": {"source_name": "silver", "name": "trade_gaps"},
    },
    "nodes": {
        "model.lake.stg_trades": model("stg_trades", "source.lake.silver.trades"),
        "model.lake.int_trades_enriched": model("int_trades_enriched", "model.lake.stg_trades"),
        "model.lake.ohlcv_1m": model(
            "ohlcv_1m", "model.lake.int_trades_enriched", "source.lake.silver.trade_gaps", materialized="replace_window"
        ),
        "model.lake.ohlcv_1h": model(
            "ohlcv_1h",
            "model.lake.ohlcv_1m",
            "model.lake.int_trades_enriched",
            "model.lake.stg_trades",
            materialized="replace_window",
        ),
    },
}


def names(table) -> list[str]:
    return [asset.name for asset in inputs(table, MANIFEST)]


def test_bronze_is_made_from_the_topics_that_fill_it():
    assert names(bronze.TRADES) == ["coinbase.raw.trades", "bybit.raw.trades"]


def test_silver_is_made_from_what_its_contract_says():
    assert names(silver.TRADE_GAPS) == ["bronze.trades", "bronze.ingestion_progress", "bronze.ingestion_events"]


def test_a_model_that_reads_a_view_is_made_from_what_the_view_reads():
    assert names(gold.OHLCV_1M) == ["silver.trades", "silver.trade_gaps"]


def test_a_table_that_is_read_by_several_ways_is_named_once():
    assert names(gold.OHLCV_1H) == ["gold.ohlcv_1m", "silver.trades"]


def test_a_model_that_dbt_does_not_know_is_not_made_from_nothing():
    with pytest.raises(KeyError, match=r"no model nothing; run `python -m stack init`"):
        read_by_model(MANIFEST, "nothing")

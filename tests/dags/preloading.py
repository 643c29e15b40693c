"""Preload what the configuration names, parse the DAGs and import what gates need; print what was imported besides."""

from __future__ import annotations

import configparser
import importlib
import json
import sys
from pathlib import Path

CONFIGURATION, DAGS, RESULT = map(Path, sys.argv[1:])
HEAVY = {
    "cosmos",
    "dbt",
    "duckdb",
    "great_expectations",
    "pandas",
    "pyarrow",
    "pyhive",
    "pyiceberg",
    "pyspark",
    "scipy",
}


def main() -> None:
    configuration = configparser.RawConfigParser()
    configuration.read(CONFIGURATION)
    for module in configuration["scheduler"]["mp_forkserver_preload"].split(","):
        importlib.import_module(module)
    preloaded = set(sys.modules)

    from airflow.dag_processing.dagbag import DagBag

    DagBag(DAGS, bundle_name="dags")
    for module in (
        "branch_tasks",
        "dead_letters",
        "fetching",
        "gate_results",
        "gates",
        "hour_frames",
        "judging",
        "letter_tasks",
        "publishing",
        "row_changes",
        "waiting",
    ):
        importlib.import_module(f"include.orchestration.{module}")
    importlib.import_module("include.quality.judgement")

    new = [name for name in sys.modules if name not in preloaded]
    RESULT.write_text(
        json.dumps(
            {
                "start_method": configuration["scheduler"]["mp_start_method"],
                "preloaded_ours": [name for name in preloaded if name.startswith("include.orchestration.")],
                "late": sorted(name for name in new if name.partition(".")[0] in HEAVY),
            }
        )
    )


main()

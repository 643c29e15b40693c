"""What each table is made from: topics fill Bronze, contracts say it of Silver, dbt's manifest of Gold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow.sdk import Asset

from include.contracts import table as table_of
from include.contracts.table import Layer, Table
from include.contracts.topics import topics_of
from include.renderers.airflow import asset, topic_asset
from include.settings import Settings

MODEL = "model.lake."
"""What dbt puts before a model's name."""

Manifest = Mapping[str, Any]


def manifest_path(settings: Settings) -> Path:
    """Return where dbt's manifest is.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = settings.state_dir / "dbt" / "manifest.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run `python -m stack init`")
    return path


def read_manifest(settings: Settings) -> Manifest:
    """Read dbt's manifest.

    Raises:
        FileNotFoundError: If there is none.
    """
    return dict(json.loads(manifest_path(settings).read_bytes()))


def inputs(table: Table, manifest: Manifest) -> tuple[Asset, ...]:
    """Return what a table is made from, as assets: the arrows of the graph on Airflow's page of assets.

    Raises:
        KeyError: If dbt's manifest does not know a table of Gold.
    """
    if table.layer is Layer.BRONZE:
        return tuple(map(topic_asset, topics_of(table.full_name)))
    is_model = table.layer is Layer.GOLD and not table.made_from
    read = read_by_model(manifest, table.name) if is_model else table.made_from
    return tuple(asset(table_of(name)) for name in read)


def read_by_model(manifest: Manifest, model: str) -> tuple[str, ...]:
    """Return the tables that a dbt model reads, `layer.name`: itself, or through views, which hold no rows.

    Raises:
        KeyError: If the manifest does not know the model.
    """
    node = MODEL + model
    if node not in manifest["nodes"]:
        raise KeyError(f"dbt's manifest has no model {model}; run `python -m stack init`")
    return tuple(dict.fromkeys(_tables(manifest, node)))


def _tables(manifest: Manifest, reader: str) -> Iterator[str]:
    for node in manifest["nodes"][reader]["depends_on"]["nodes"]:
        if node in manifest["sources"]:
            source = manifest["sources"][node]
            yield f"{source['source_name']}.{source['name']}"
        elif manifest["nodes"][node]["config"]["materialized"] == "view":
            yield from _tables(manifest, node)
        else:
            yield f"{Layer.GOLD}.{manifest['nodes'][node]['name']}"

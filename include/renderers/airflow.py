"""Tables as Airflow assets."""

from __future__ import annotations

from airflow.sdk import Asset

from include.contracts.table import Table


def asset(table: Table) -> Asset:
    """Give the asset of a table: what its published hours are announced under."""
    return Asset(
        name=table.full_name,
        uri=f"lake://{table.layer}/{table.name}",
        group=str(table.layer),
        extra={"description": table.description, "owner": table.owner, "grain": ", ".join(table.grain)},
    )

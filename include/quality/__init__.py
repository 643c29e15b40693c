"""What an hour of each layer must satisfy before anything builds on it."""

from __future__ import annotations

from include.contracts.table import Layer, Table
from include.quality import bronze, gold, silver
from include.quality.judgement import Check

GATES: dict[Layer, tuple[tuple[Table, ...], tuple[Check, ...]]] = {
    Layer.BRONZE: (bronze.TABLES, bronze.CHECKS),
    Layer.SILVER: (silver.TABLES, silver.CHECKS),
    Layer.GOLD: (gold.TABLES, gold.CHECKS),
}
"""By layer: the tables that are judged by their contracts, and the checks that go beyond them."""

__all__ = ["GATES"]

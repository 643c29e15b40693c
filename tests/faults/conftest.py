"""The ingestion that the faults strike."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from tests.conftest import COMMITTED_RECORDING
from tests.drivers.ingestion import Ingestion


@pytest.fixture(scope="module")
def ingestion() -> Iterator[Ingestion]:
    """An ingestion that one module breaks, again and again."""
    with Ingestion.on_a_stack_of_its_own(COMMITTED_RECORDING) as running:
        yield running


@pytest.fixture
def chance(seed: int) -> Random:
    """What decides when and where a fault strikes."""
    return Random(seed)

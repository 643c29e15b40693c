"""The dbt project on the engine that it is written for: its unit tests, and its macros against plain Python."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import jinja2
import pytest
from pyhive import hive

from include.contracts import gold
from include.orchestration.hours import KEY_FORMAT
from include.settings import CHECKOUT
from tests.drivers.demo import Demo
from tests.drivers.running_stack import RunningStack

pytestmark = pytest.mark.integration

PROJECT = CHECKOUT / "dbt_project"
LARGEST = 10**18 - 1
"""The largest decimal(18,8), in units of its last digit."""


def macro(name: str, *arguments: object) -> str:
    """Render one of the project's macros that ask nothing of dbt."""
    text = (PROJECT / "macros" / "expressions" / f"{name}.sql").read_text(encoding="utf-8")
    return str(getattr(jinja2.Environment(autoescape=False).from_string(text).module, name)(*arguments))


@pytest.fixture
def query(stack: RunningStack) -> Iterable[Any]:
    """Return a function that runs Spark SQL as dbt does and returns its rows."""
    with hive.connect(stack.settings.thrift.host, stack.settings.thrift.port, username="tests") as connection:

        def rows(statement: str) -> list[tuple[Any, ...]]:
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall()

        yield rows


def trades_with_awkward_averages(seed: int) -> Iterable[list[tuple[int, int]]]:
    """Give groups of trades as (price, size) in units of 1e-8: extremes, exact halves, and a hair beside a half."""
    yield [(LARGEST, LARGEST)] * 3
    yield [(1, 1)]
    yield [(LARGEST, 1), (1, LARGEST)]
    yield [(2, 10**8), (3, 10**8)]
    yield [(3, 10**8), (4, 10**8)]
    yield [(2, 5 * 10**17 + 1), (3, 5 * 10**17)]
    yield [(2, 5 * 10**17), (3, 5 * 10**17 + 1)]
    rng = random.Random(seed)
    for _ in range(500):
        digits = rng.randint(1, 18)
        yield [(rng.randrange(10**digits), rng.randint(1, 10**digits)) for _ in range(rng.randint(1, 4))]


def half_up(value: Fraction) -> Decimal:
    """Round to 8 places, away from zero at a half; exact."""
    units, rest = divmod(value * 10**8, 1)
    return Decimal(units + (rest >= Fraction(1, 2))).scaleb(-8)


def dbt_test(stack: RunningStack, folder: Path, *words: str, **environment: str) -> str:
    """Run dbt's tests and return what it says; all of them must pass."""
    result = subprocess.run(
        [Path(sys.executable).with_name("dbt"), "--no-use-colors", "test", *words],
        env={
            **stack.environment,
            "DBT_PROJECT_DIR": str(PROJECT),
            "DBT_PROFILES_DIR": str(PROJECT),
            "DBT_TARGET_PATH": str(folder / "target"),
            "DBT_LOG_PATH": str(folder / "logs"),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_the_unit_tests_of_the_models_pass(stack: RunningStack, tmp_path: Path):
    said = dbt_test(stack, tmp_path, "--select", "test_type:unit")

    assert re.search(r"PASS=[1-9]", said), "no unit test was found"


def test_the_data_tests_hold_for_a_published_hour(stack: RunningStack, demo: Demo, tmp_path: Path):
    said = dbt_test(stack, tmp_path, "--select", "test_type:data", LAKE_HOUR=f"{demo.hours[1]:{KEY_FORMAT}}")

    passed = re.search(r"PASS=(\d+)", said)
    assert passed, said
    assert int(passed[1]) > len(gold.TABLES), "each table has a test of its contract"


def test_an_average_price_is_rounded_half_up_once_as_exact_arithmetic_rounds_it(query: Any):
    groups = list(trades_with_awkward_averages(seed=20251125))
    expected = [
        half_up(Fraction(sum(price * size for price, size in trades), sum(size for _, size in trades)) / 10**8)
        for trades in groups
    ]
    values = ", ".join(
        f"({number}, {Decimal(price).scaleb(-8):f}, {Decimal(size).scaleb(-8):f})"
        for number, trades in enumerate(groups)
        for price, size in trades
    )
    average = macro("divide_half_up", "sum(price * size)", "sum(size)", 8)

    rows = query(
        f"select number, {average} from ("
        "select number, cast(price as decimal(18, 8)) as price, cast(size as decimal(18, 8)) as size"
        f" from values {values} as trades (number, price, size)) group by number order by number"
    )

    assert [average for _, average in rows] == expected


def test_a_quotient_without_a_denominator_is_null(query: Any):
    quotient = macro("divide_half_up", "cast(1 as decimal(18, 8))", "denominator", 8)

    rows = query(f"select {quotient} from values (cast(null as decimal(18, 8))), (0.00000000) as t (denominator)")

    assert rows == [(None,), (None,)]


def test_the_last_close_is_carried_into_candles_without_trades_and_nothing_else_is_changed(query: Any):
    candles = """(
        select 'v' as venue, 'spot' as market, product_id, timestamp(start) as window_start,
               timestamp(start) + interval 1 minute as window_end, open, high, low, close, volume,
               volume as trade_count, open as vwap, status
        from values
            ('A', '2026-11-20 09:00:00', null, null, null, null, 0, 'empty'),
            ('A', '2026-11-20 09:01:00', 2, 4, 1, 3, 1, 'complete'),
            ('A', '2026-11-20 09:02:00', null, null, null, null, 0, 'gap'),
            ('A', '2026-11-20 09:03:00', 7, 7, 7, 7, 1, 'complete'),
            ('B', '2026-11-20 09:04:00', null, null, null, null, 0, 'empty')
        as candles (product_id, start, open, high, low, close, volume, status)
    )"""

    rows = query(
        "select product_id, minute(window_start), open, high, low, close, trade_count, vwap, status"
        f" from ({macro('carry_forward', candles)}) order by product_id, window_start"
    )

    assert rows == [
        ("A", 0, None, None, None, None, 0, None, "empty"),
        ("A", 1, 2, 4, 1, 3, 1, 2, "complete"),
        ("A", 2, 3, 3, 3, 3, 0, None, "gap"),
        ("A", 3, 7, 7, 7, 7, 1, 7, "complete"),
        ("B", 4, None, None, None, None, 0, None, "empty"),
    ]

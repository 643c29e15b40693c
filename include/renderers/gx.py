"""Contracts as Great Expectations suites.

Great Expectations takes seconds to import, so it is imported by those who call, when they call.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from include.contracts.table import Rule, Table

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.expectations import Expectation

GRAIN_UNIQUE = "grain_unique"
PRESENT = "present:"
"""What the rule id of a column that must not be null begins with."""
HOLDS = "holds:"
"""What the name of the column begins with that says whether a row satisfies a rule."""


def suite(table: Table) -> ExpectationSuite:
    """Expect of a table what its contract promises: required columns, a unique grain, each rule.

    The frame to be judged has the table's columns, and for each rule a column `holds:<rule id>` of true and false:
    predicates are SQL and are computed before, exactly.
    """
    import great_expectations.expectations as gxe

    present = [
        gxe.ExpectColumnValuesToNotBeNull(column=column.name, meta={"rule_id": PRESENT + column.name})
        for column in table.columns
        if column.required
    ]
    meta = {"rule_id": GRAIN_UNIQUE}
    unique: Expectation = (
        gxe.ExpectCompoundColumnsToBeUnique(column_list=list(table.grain), meta=meta)
        if len(table.grain) > 1
        else gxe.ExpectColumnValuesToBeUnique(column=table.grain[0], meta=meta)
    )
    return _suite(table.full_name, [*present, unique, *_rules(table.rules)])


def rule_suite(table: Table, rules: Sequence[Rule]) -> ExpectationSuite:
    """Expect of a frame that its rows satisfy some rules about a table; the same rule may be there of another."""
    return _suite(f"{table.full_name} {', '.join(rule.id for rule in rules)}", _rules(rules))


def _rules(rules: Sequence[Rule]) -> list[Expectation]:
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectColumnValuesToBeInSet(column=HOLDS + rule.id, value_set=[True], meta={"rule_id": rule.id})
        for rule in rules
    ]


def _suite(name: str, expectations: Sequence[Expectation]) -> ExpectationSuite:
    from great_expectations import ExpectationSuite

    return ExpectationSuite(name=name, expectations=list(expectations))


def quieten() -> None:
    """Keep Great Expectations' notes about its own import, some hundred lines, out of the log."""
    logging.getLogger("great_expectations").setLevel(logging.WARNING)

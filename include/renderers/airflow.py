"""Tables and topics as Airflow assets."""

from __future__ import annotations

from airflow.sdk import Asset

from include.contracts.bronze import OWNER
from include.contracts.table import Table
from include.contracts.topics import Topic
from include.renderers.docs import kept, span


def asset(table: Table) -> Asset:
    """Give the asset of a table: what its published hours are announced under."""
    return Asset(
        name=table.full_name,
        uri=f"lake://{table.layer}/{table.name}",
        group=str(table.layer),
        extra={
            "description": table.description,
            "owner": table.owner,
            "grain": ", ".join(table.grain),
            "freshness": span(table.freshness) or "no promise",
            "retention": span(table.retention) or "ever",
        },
    )


def topic_asset(topic: Topic) -> Asset:
    """Give the asset of a topic, from which Bronze is filled. Nobody announces it: its records come all the time.

    The broker is left out: a topic is the same one wherever the stack runs.
    """
    return Asset(
        name=topic.name,
        uri=f"kafka://lake/{topic.name}",
        group="kafka",
        extra={"description": topic.description, "owner": OWNER, "key": topic.key, "retention": kept(topic)},
    )

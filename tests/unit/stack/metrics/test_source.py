import time
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from stack.metrics.source import Watch

pytestmark = pytest.mark.unit


class Scripted:
    """Gives one answer after the other; an exception is raised. The last one is given for ever."""

    def __init__(self, *answers: float | Exception):
        self.answers = list(answers)

    def read(self):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return (GaugeMetricFamily("depth", "Depth.", value=answer),)


@pytest.fixture
def told():
    """Watch a source and give what Prometheus would read, once it is as is said."""
    watches = []

    def watch(source: Scripted) -> Callable[[str, float | None], bool]:
        registry = CollectorRegistry()
        watches.append(Watch("well", source, every=0.02))
        registry.register(watches[-1])
        watches[-1].start()

        def becomes(name: str, value: float | None) -> bool:
            labels = {"source": "well"} if name == "lake_source_up" else {}
            deadline = time.monotonic() + 5
            while registry.get_sample_value(name, labels) != value:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.005)
            return True

        return becomes

    yield watch
    for each in watches:
        each.stop()


def test_what_was_read_last_is_told(told):
    becomes = told(Scripted(1, 2, 3))

    assert becomes("depth", 3)
    assert becomes("lake_source_up", 1)


def test_what_cannot_be_read_is_not_told_as_it_once_was(told):
    becomes = told(Scripted(1, OSError("gone")))

    assert becomes("lake_source_up", 0)
    assert becomes("depth", None)


def test_a_source_that_comes_back_is_told_again_and_its_trouble_is_logged_once(told, caplog):
    becomes = told(Scripted(OSError("gone"), OSError("gone"), 7))

    assert becomes("depth", 7)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "well cannot be read: gone"
    ]

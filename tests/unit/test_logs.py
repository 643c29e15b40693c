import json
import logging

import pytest

from include.logs import JsonFormatter

pytestmark = pytest.mark.unit


def test_a_line_is_one_json_object_with_what_was_given_as_extra():
    record = logging.makeLogRecord(
        {
            "name": "streaming.feed",
            "levelname": "WARNING",
            "msg": "lost %s",
            "args": ("it",),
            "created": 0,
            "retry_in": 0.5,
        }
    )

    assert json.loads(JsonFormatter().format(record)) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "warning",
        "logger": "streaming.feed",
        "message": "lost it",
        "retry_in": 0.5,
    }

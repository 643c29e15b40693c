import os
from pathlib import Path

import pytest

from include.supervisord import SOCKET_NAME_LIMIT, Supervisord, socket_of

pytestmark = pytest.mark.unit


def test_the_socket_lies_in_the_state_folder():
    assert socket_of(Path("/state")) == Path("/state/run/supervisor.sock")


def test_the_socket_of_a_long_state_folder_lies_where_its_name_is_short_enough():
    one, other = (socket_of(Path("/" + letter * 200)) for letter in "ab")

    assert len(os.fsencode(one)) <= SOCKET_NAME_LIMIT
    assert one != other
    assert one == socket_of(Path("/" + "a" * 200))


def test_where_no_supervisord_runs_no_service_is_up(tmp_path: Path):
    supervisord = Supervisord(tmp_path)

    assert not supervisord.is_running
    assert supervisord.names_up() == set()

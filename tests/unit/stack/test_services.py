import base64
import uuid

import pytest

from stack.services import cluster_id

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("first", [0x00, 0x7F, 0xF8, 0xFB, 0xFF])
def test_the_name_of_a_kafka_cluster_cannot_be_taken_for_an_option(first: int):
    name = cluster_id(uuid.UUID(bytes=bytes([first]) + bytes(range(15))))

    assert not name.startswith("-")
    assert base64.urlsafe_b64decode(name + "==")[1:] == bytes(range(15))

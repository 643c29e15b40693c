import base64
import uuid
from pathlib import Path

import pytest

from include.settings import Settings
from stack import services
from stack.java import Java
from stack.layout import Layout
from stack.services import cluster_id

pytestmark = pytest.mark.unit

SECRETS = dict.fromkeys(("postgres_password", "airflow_password", "airflow_jwt_secret", "airflow_fernet_key"), "secret")


@pytest.fixture
def layout(tmp_path: Path):
    java = Java(Path("/java"), 21)

    def make(**choices: object) -> Layout:
        return Layout(Settings(state_dir=tmp_path / "state", tools_dir=tmp_path, **SECRETS, **choices), java, java)

    return make


def names(layout: Layout) -> list[str]:
    return [service.name for service in services.minimal(layout)]


def test_bybit_is_followed_only_where_it_is_asked_for(layout):
    assert "producer-bybit" not in names(layout())
    assert set(names(layout(follow_bybit=True))) - set(names(layout())) == {"producer-bybit"}


def test_coingecko_is_asked_for_prices_only_where_it_is_wanted(layout):
    assert "producer-coingecko" not in names(layout())
    assert set(names(layout(follow_coingecko=True))) - set(names(layout())) == {"producer-coingecko"}


def test_no_two_services_listen_on_one_port(layout):
    everything = layout(follow_bybit=True, follow_coingecko=True)
    ports = [port.port for service in services.minimal(everything) for port in service.ports]

    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("producer_of", [services.producer_bybit, services.producer_coingecko])
@pytest.mark.parametrize("exchange", ["live", "replica"])
def test_a_producer_waits_for_the_replica_where_it_follows_that(layout, exchange, producer_of):
    producer = producer_of(layout(exchange=exchange))

    assert ("replica" in producer.after) == (exchange == "replica")


@pytest.mark.parametrize("first", [0x00, 0x7F, 0xF8, 0xFB, 0xFF])
def test_the_name_of_a_kafka_cluster_cannot_be_taken_for_an_option(first: int):
    name = cluster_id(uuid.UUID(bytes=bytes([first]) + bytes(range(15))))

    assert not name.startswith("-")
    assert base64.urlsafe_b64decode(name + "==")[1:] == bytes(range(15))

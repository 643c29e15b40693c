"""Where the last start left off, read back from the topics that tell it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import TypeVar

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from include.contracts.topics import EVENTS, HISTORY, PROGRESS, Topic
from streaming.events import DriftEvent
from streaming.failures import RefusalError
from streaming.history import HistoryCursor
from streaming.progress import ProgressRecord

log = logging.getLogger(__name__)

T = TypeVar("T", ProgressRecord, HistoryCursor)


def read_progress(bootstrap: str, keys: frozenset[str], seconds: float = 60) -> dict[str, ProgressRecord]:
    """Return the newest progress of each product, read to the end that the topic has now. Blocks.

    Args:
        bootstrap: `host:port` of the broker.
        keys: The products, as `venue/market/product_id`; one without progress is not in the answer.
        seconds: How long the broker may stay silent.

    Raises:
        RefusalError: If the broker does not give the topic to its end.
    """
    return _newest(PROGRESS, ProgressRecord, bootstrap, keys, seconds)


def read_cursors(bootstrap: str, keys: frozenset[str], seconds: float = 60) -> dict[str, HistoryCursor]:
    """Return how far the history of each product was fetched, as `read_progress` does. Blocks.

    Raises:
        RefusalError: If the broker does not give the topic to its end.
    """
    return _newest(HISTORY, HistoryCursor, bootstrap, keys, seconds)


def read_told_fields(bootstrap: str, venue: str, seconds: float = 60) -> set[tuple[str, str]]:
    """Return the fields that the topic of events still tells to be new, each with its type of message. Blocks.

    Args:
        bootstrap: `host:port` of the broker.
        venue: Whose messages have them.
        seconds: How long the broker may stay silent.

    Raises:
        RefusalError: If the broker does not give the topic to its end.
    """
    told = set()
    for _, value in records_of(EVENTS, bootstrap, seconds):
        # Nearly all events are of other kinds; most are passed over unread.
        if value is not None and b'"new_field"' in value:
            with suppress(msgspec.MsgspecError):
                event = msgspec.json.decode(value, type=DriftEvent)
                if (event.kind, event.venue) == ("new_field", venue):
                    told.add((event.message_type, event.field))
    return told


def records_of(topic: Topic, bootstrap: str, seconds: float = 60) -> Iterator[tuple[str | None, bytes | None]]:
    """Yield key and value of each record of a topic with one partition, to the end that it has now. Blocks.

    Args:
        bootstrap: `host:port` of the broker.
        seconds: How long the broker may stay silent.

    Raises:
        RefusalError: If the broker does not give the topic to its end.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "streaming.resume",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    try:
        consumer.assign([TopicPartition(topic.name, 0, OFFSET_BEGINNING)])
        while (message := consumer.poll(seconds)) is not None:
            error, key = message.error(), message.key()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                return
            if error is not None and not error.retriable():
                raise KafkaException(error)
            if error is None:
                yield (None if key is None else key.decode()), message.value()
    except KafkaException as error:
        raise RefusalError(f"the topic {topic.name} cannot be read at {bootstrap}: {error}") from error
    finally:
        consumer.close()
    raise RefusalError(f"Kafka at {bootstrap} does not give the topic {topic.name}: see whether the broker is well")


def _newest(topic: Topic, kind: type[T], bootstrap: str, keys: frozenset[str], seconds: float) -> dict[str, T]:
    """Return the newest record of each key."""
    newest = {key: value for key, value in records_of(topic, bootstrap, seconds) if key in keys}
    found = {}
    for key, value in newest.items():
        try:
            if key is not None and value:
                found[key] = msgspec.json.decode(value, type=kind)
        except msgspec.MsgspecError as error:
            # Without it the product is fetched anew from its start, which costs time and loses nothing.
            log.error("where it left off cannot be read", extra={"topic": topic.name, "key": key, "reason": str(error)})
    return found

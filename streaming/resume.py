"""Where the last start left off, read back from the topic of progress."""

from __future__ import annotations

import logging

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from include.contracts.topics import PROGRESS
from streaming.failures import RefusalError
from streaming.progress import ProgressRecord

log = logging.getLogger(__name__)


def read_progress(bootstrap: str, keys: frozenset[str], seconds: float = 60) -> dict[str, ProgressRecord]:
    """Return the newest progress of each product, read to the end that the topic has now. Blocks.

    Args:
        bootstrap: `host:port` of the broker.
        keys: The products, as `venue/market/product_id`; one without progress is not in the answer.
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
    newest: dict[str, bytes | None] = {}
    try:
        consumer.assign([TopicPartition(PROGRESS.name, 0, OFFSET_BEGINNING)])
        while (message := consumer.poll(seconds)) is not None:
            error, key = message.error(), message.key()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                return {key: record for key, value in newest.items() if value and (record := _read(key, value))}
            if error is not None and not error.retriable():
                raise KafkaException(error)
            if error is None and key is not None and key.decode() in keys:
                newest[key.decode()] = message.value()
    except KafkaException as error:
        raise RefusalError(f"the topic {PROGRESS.name} cannot be read at {bootstrap}: {error}") from error
    finally:
        consumer.close()
    raise RefusalError(f"Kafka at {bootstrap} does not give the topic {PROGRESS.name}: see whether the broker is well")


def _read(key: str, value: bytes) -> ProgressRecord | None:
    try:
        return msgspec.json.decode(value, type=ProgressRecord)
    except msgspec.MsgspecError as error:
        # Without it the product is fetched anew from its start, which costs time and loses nothing.
        log.error("progress cannot be read", extra={"key": key, "reason": str(error)})
        return None

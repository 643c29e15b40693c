"""What was written lately, so that nothing is written twice. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b

from streaming.records import Record

REMEMBERED = 8
"""Records of one key; the venue's caches may give one again even after something newer."""


class Written:
    """The newest records of each topic and key, by their digests.

    Args:
        acknowledged: What `acknowledged` gave in an earlier process.
    """

    def __init__(self, acknowledged: Mapping[str, Sequence[str]]) -> None:
        self._sent = _copy(acknowledged)
        self._acknowledged = _copy(acknowledged)

    @property
    def acknowledged(self) -> dict[str, list[str]]:
        """What is known to be in Kafka: more may be on its way, but would be lost with the process."""
        return {name: list(digests) for name, digests in self._acknowledged.items()}

    def is_new(self, record: Record) -> bool:
        """Whether a record was not sent before; if so it is taken note of, and its acknowledgement will be, too."""
        name, digest = f"{record.topic} {record.key}", blake2b(record.value, digest_size=16).hexdigest()
        if digest in self._sent.setdefault(name, deque(maxlen=REMEMBERED)):
            return False
        self._sent[name].append(digest)
        acknowledged = self._acknowledged.setdefault(name, deque(maxlen=REMEMBERED))
        record.acknowledged = partial(acknowledged.append, digest)
        return True


def _copy(digests: Mapping[str, Sequence[str]]) -> dict[str, deque[str]]:
    return {name: deque(some, maxlen=REMEMBERED) for name, some in digests.items()}

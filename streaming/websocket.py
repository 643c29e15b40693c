"""A WebSocket connection that gives its messages in batches: all that one read from the socket has brought.

`websockets` parses each frame in a generator and hands each message over on a queue, which was more than a third of
the CPU time from the wire to the acknowledgement in Kafka. So the frames that nearly all are, whole and short text, are
taken here many at a time. Every other one (control, fragmented, long, cut by the end of a read) is left to the library,
which also keeps the handshakes, the pings and all other rules of the protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.frames import DATA_OPCODES, Frame
from websockets.protocol import OPEN, Event
from websockets.streams import StreamReader

FINAL_TEXT = 0x81
"""The first byte of a text frame that is a whole message, without extensions."""
TWO_BYTES_OF_LENGTH = 126
"""In place of the length: the next two bytes have it. Longer frames say 127, masked ones more."""


class BatchReader(StreamReader):
    """The library's reader, which takes what it can by itself whenever the library would parse a frame.

    The payloads go among the events of the protocol as one list, so that the order is that of the wire. A frame may
    have 64 KiB, whatever the largest message is.
    """

    def __init__(self, protocol: ClientProtocol) -> None:
        super().__init__()
        self._protocol = protocol

    def at_eof(self) -> Generator[None, None, bool]:
        """Take the frames that are whole. The library asks this before each frame, and at no other place."""
        while True:
            # After a close frame it discards, and within a fragmented message it is stricter.
            if self._protocol.state is OPEN and self._protocol.current_size is None:
                self._take_frames()
            if self.buffer:
                return False
            if self.eof:
                return True
            yield

    def _take_frames(self) -> None:
        data, at = bytes(self.buffer), 0  # a slice of bytes is a third cheaper than bytes of a slice
        size = len(data)
        payloads: list[bytes] = []
        try:
            while data[at] == FINAL_TEXT:
                start, length = at + 2, data[at + 1]
                if length >= TWO_BYTES_OF_LENGTH:
                    if length > TWO_BYTES_OF_LENGTH:
                        break
                    start, length = at + 4, data[at + 2] << 8 | data[at + 3]
                end = start + length
                if end > size:
                    break
                payloads.append(data[start:end])
                at = end
        except IndexError:
            pass  # the read ended within a header, or with a whole frame
        if payloads:
            del self.buffer[:at]
            self._protocol.events.append(payloads)  # type: ignore[arg-type]  # for BatchConnection.process_event


class BatchConnection(ClientConnection):
    """A connection whose messages are taken with `receive`, and not with `recv`."""

    def __init__(self, protocol: ClientProtocol, **options: Any) -> None:  # noqa: ANN401
        super().__init__(protocol, **options)
        protocol.reader = BatchReader(protocol)
        protocol.parser = protocol.parse()  # the one that was begun holds on to the reader that was there
        next(protocol.parser)
        self._messages: list[bytes] = []
        self._fragments = bytearray()
        self._came = asyncio.Event()

    async def receive(self) -> list[bytes]:
        """Return the messages that have come since the last call, at least one; UTF-8 is not checked.

        Raises:
            ConnectionClosed: If the connection is closed, and all that came on it is taken.
        """
        await self._came.wait()
        if not self._messages:
            raise self.close_exc
        messages, self._messages = self._messages, []
        self.transport.resume_reading()
        if not self.connection_lost_waiter.done():
            self._came.clear()
        return messages

    def process_event(self, event: Event | list[bytes]) -> None:
        """Take messages; leave the rest to the library."""
        if isinstance(event, list):
            self._messages += event
        elif isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self._fragments += event.data
            if event.fin:
                self._messages.append(bytes(self._fragments))
                self._fragments.clear()
        else:
            super().process_event(event)
            return
        if self._messages:
            self._came.set()
            if self.max_queue_high is not None and len(self._messages) >= self.max_queue_high:
                self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let `receive` know."""
        super().connection_lost(exc)
        self._came.set()

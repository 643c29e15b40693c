import asyncio
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from streaming.websocket import BatchConnection

pytestmark = pytest.mark.unit

LARGEST = 2**17


def wire(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=False)


def text(payload: bytes) -> bytes:
    return wire(Opcode.TEXT, payload)


SIZES = [b"", b"a", b"b" * 125, b"c" * 126, b"d" * 300]
FRAGMENTED = wire(Opcode.TEXT, b"one", fin=False) + wire(Opcode.PING, b"?") + wire(Opcode.CONT, b", two", fin=False)
MIXED = (
    b"".join(map(text, SIZES))
    + FRAGMENTED
    + wire(Opcode.CONT, b"")
    + wire(Opcode.BINARY, b"\x00")
    + wire(Opcode.PONG, b"")
    + text("après".encode())
    + text(b"the end")
)
MESSAGES = [*SIZES, b"one, two", b"\x00", "après".encode(), b"the end"]


class Transport(asyncio.Transport):
    """Takes down what is written, and whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reads = True

    def write(self, data: bytes) -> None:
        self.written += data

    def write_eof(self) -> None: ...
    def can_write_eof(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


def connection(**options) -> BatchConnection:
    """A connection after its handshake, without a network."""
    protocol = ClientProtocol(parse_uri("ws://exchange"), state=OPEN, max_size=LARGEST)
    connection = BatchConnection(protocol, **options)
    connection.response = object()  # type: ignore[assignment]
    connection.connection_made(Transport())
    return connection


async def received(connection: BatchConnection) -> list[bytes]:
    """All messages that have come."""
    return await connection.receive() if connection._came.is_set() else []


def sent(connection: BatchConnection) -> list[tuple[Opcode, bytes]]:
    """The control frames that we answered with, unmasked: all are short."""
    frames, data = [], connection.transport.written
    while data:
        length, mask = data[1] & 0x7F, data[2:6]
        payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data[6 : 6 + length]))
        frames.append((Opcode(data[0] & 0x0F), payload))
        data = data[6 + length :]
    return frames


async def test_messages_come_whole_and_in_order_wherever_the_reads_end():
    for cut in range(len(MIXED) + 1):
        there = connection()
        there.data_received(MIXED[:cut])
        there.data_received(MIXED[cut:])

        assert await received(there) == MESSAGES, cut
        assert sent(there) == [(Opcode.PONG, b"?")]


async def test_messages_come_whole_when_every_read_brings_one_byte():
    there, messages = connection(), []
    for place in range(len(MIXED)):
        there.data_received(MIXED[place : place + 1])
        messages += await received(there)

    assert messages == MESSAGES


async def test_messages_are_bytes_that_nothing_changes_afterwards():
    there = connection()
    there.data_received(MIXED)

    assert {type(message) for message in await received(there)} == {bytes}


async def test_a_message_longer_than_64_kib_is_taken_up_to_the_limit():
    there = connection()
    there.data_received(text(bytes(LARGEST)) + text(b"next"))
    assert [len(message) for message in await received(there)] == [LARGEST, 4]

    there.data_received(text(bytes(LARGEST + 1)) + text(b"never"))
    assert await received(there) == []
    assert Close.parse(sent(there)[-1][1]).code == 1009


async def test_a_message_whose_fragments_exceed_the_limit_together_is_refused():
    there, half = connection(), bytes(LARGEST // 2 + 1)
    there.data_received(wire(Opcode.TEXT, half, fin=False) + wire(Opcode.CONT, half))

    assert await received(there) == []
    assert Close.parse(sent(there)[-1][1]).code == 1009


@pytest.mark.parametrize(
    "wrong",
    [
        wire(Opcode.TEXT, b"begun", fin=False) + text(b"another"),
        wire(Opcode.CONT, b"of nothing"),
        Frame(Opcode.TEXT, b"masked").serialize(mask=True),
        b"\xc1\x01a",
        b"\x83\x01a",
    ],
    ids=["a message within another", "a fragment of nothing", "masked", "an extension", "an unknown kind"],
)
async def test_what_the_protocol_forbids_ends_the_connection_after_what_came_before(wrong):
    there = connection()
    there.data_received(text(b"before") + wrong + text(b"after"))

    assert await received(there) == [b"before"]
    assert Close.parse(sent(there)[-1][1]).code == 1002


async def test_what_follows_a_close_is_not_a_message():
    there = connection()
    there.data_received(text(b"before") + wire(Opcode.CLOSE, Close(1000, "").serialize()) + text(b"after"))
    there.data_received(text(b"long after"))

    assert await received(there) == [b"before"]
    assert sent(there) == [(Opcode.CLOSE, Close(1000, "").serialize())]


async def test_nothing_is_read_while_too_many_messages_wait():
    there = connection(max_queue=3)
    there.data_received(text(b"1") + text(b"2"))
    assert there.transport.reads
    there.data_received(text(b"3") + text(b"4"))
    assert not there.transport.reads

    assert await received(there) == [b"1", b"2", b"3", b"4"]
    assert there.transport.reads


@asynccontextmanager
async def connected(exchange, **options):
    async with (
        serve(exchange, "127.0.0.1", 0) as server,
        connect(
            f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            compression=None,
            create_connection=BatchConnection,
            **options,
        ) as there,
    ):
        yield there


async def test_what_came_before_the_end_is_received_and_then_the_end():
    async def exchange(there: ServerConnection) -> None:
        for number in range(3):
            await there.send(f"{number}")

    async with connected(exchange) as there:
        await there.wait_closed()
        assert await there.receive() == [b"0", b"1", b"2"]
        for _ in range(2):
            with pytest.raises(ConnectionClosedOK):
                await there.receive()


async def test_a_connection_cut_off_is_an_error():
    async def exchange(there: ServerConnection) -> None:
        there.transport.abort()

    async with connected(exchange) as there:
        with pytest.raises(ConnectionClosedError):
            await there.receive()


async def test_messages_right_behind_the_handshake_are_messages():
    client, server = ClientProtocol(parse_uri("ws://exchange")), ServerProtocol()
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    (request,) = server.events_received()
    server.send_response(server.accept(request))
    opening = b"".join(server.data_to_send()) + MIXED
    for cut in range(len(opening)):
        client = ClientProtocol(parse_uri("ws://exchange"))
        client.send_request(request_like(client, request))
        there = BatchConnection(client)
        there.connection_made(Transport())
        there.data_received(opening[:cut])
        there.data_received(opening[cut:])

        assert await received(there) == MESSAGES, cut


def request_like(client: ClientProtocol, request: Request) -> Request:
    """The request that another client sent, so that the answer to that one is right for this one."""
    client.key = request.headers["Sec-WebSocket-Key"]
    return client.connect()


async def test_a_ping_of_ours_is_seen_to_be_answered():
    async def exchange(there: ServerConnection) -> None:
        await there.wait_closed()

    async with connected(exchange) as there:
        assert await (await there.ping()) >= 0

"""Read the lines of a file however it is packed: plain, gzip or zstd, as its first bytes say."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import zstandard

UNPACKING_ERRORS = (OSError, EOFError, zlib.error, zstandard.ZstdError)
"""What a file that is not as it should be raises."""


class _Decompressor(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, /) -> bytes: ...


_FORMATS: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    (b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj()),
)


def lines(path: Path) -> Iterator[bytes]:
    """Give the lines of a file, without their ends.

    Raises:
        UNPACKING_ERRORS: If the file cannot be read, or ends in the middle of its packed data.
    """
    rest = b""
    for chunk in _chunks(path):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    yield rest


def _chunks(path: Path) -> Iterator[bytes]:
    """Unpack a file; members that follow each other in it are read as one."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        unpacker = next((make for magic, make in _FORMATS if start.startswith(magic)), None)
        member: _Decompressor | None = None
        while chunk := file.read(1 << 16):
            if unpacker is None:
                yield chunk
            while unpacker is not None and chunk:
                member = member or unpacker()
                yield member.decompress(chunk)
                chunk = member.unused_data if member.eof else b""
                member = None if member.eof else member
        if member is not None:
            raise EOFError("it ends in the middle of its compressed data")

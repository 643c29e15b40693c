"""Make a table of trade facts from recorded frames: `python -m stack.replica.make_recording SRC DEST`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
import zstandard

from stack.failures import StackError
from stack.replica.recordings import TABLE_HEADER, Play, microseconds, read_recording


def table(plays: list[Play]) -> bytes:
    """Write trades as the table, in the order in which they are played; the same trades give the same bytes."""
    rows = (
        f"{t.time},{t.product_id},{t.trade_id},{t.price},{t.size},{t.side},{t.sequence}".encode()
        for t in (play.trade for play in plays)
    )
    text = b"\n".join((TABLE_HEADER, *rows, b""))
    return zstandard.ZstdCompressor(level=19).compress(text)


def main(
    source: Annotated[Path, typer.Argument(help="File or folder of recorded frames.")],
    destination: Annotated[Path, typer.Argument(help="The table to write, zstd-compressed CSV.")],
    since: Annotated[datetime, typer.Option(help="First hour, UTC.")] = datetime(2025, 11, 25, 5),  # noqa: DTZ001
    until: Annotated[datetime, typer.Option(help="End of the last hour, UTC.")] = datetime(2025, 11, 25, 8),  # noqa: DTZ001
) -> None:
    """Keep only the facts of trades: time, product, id, price, size, maker's side, sequence."""
    first, end = microseconds(since.replace(tzinfo=UTC)), microseconds(until.replace(tzinfo=UTC))
    try:
        plays = [play for play in read_recording(source).plays if first <= play.trade.time < end]
    except StackError as error:
        typer.echo(f"make_recording: {error}", err=True)
        raise typer.Exit(1) from error
    destination.write_bytes(table(plays))
    typer.echo(f"{len(plays)} trades, {destination.stat().st_size} bytes")


if __name__ == "__main__":
    typer.run(main)

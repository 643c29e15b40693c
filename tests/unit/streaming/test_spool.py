import pytest

from streaming import spool
from streaming.records import Record

pytestmark = pytest.mark.unit

FRAME = Record("coinbase.raw.trades", "BTC-USD", b'{"type":"match"}', [("source", b"ws")])
NO_TEXT = Record("coinbase.dlq", "coinbase", b"\xff\n\x00", [("reason", "no JSON, “really”".encode())])


def test_what_was_spooled_is_read_back_byte_for_byte(tmp_path):
    file = tmp_path / "spool" / "producer.ndjson"
    spool.save(file, [FRAME])
    spool.save(file, [NO_TEXT])

    assert spool.load(file) == [FRAME, NO_TEXT]


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path):
    file = tmp_path / "producer.ndjson"
    spool.save(file, [FRAME, NO_TEXT])
    file.write_bytes(file.read_bytes()[:-5])

    assert spool.load(file) == [FRAME]


def test_without_a_file_there_is_nothing(tmp_path):
    assert spool.load(tmp_path / "none.ndjson") == []

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import zstandard

from stack.replica.make_recording import table
from stack.replica.recordings import HOUR, MINUTE, SECOND, RecordingError, read_recording
from tests.unit.stack.replica.market import FIVE, trade

pytestmark = pytest.mark.unit

MATCH = (
    '{"type":"match","trade_id":865127782,"maker_order_id":"5f4bb11b-f065-4025-ad53-2091b10ad2cf",'
    '"taker_order_id":"66715b57-0167-4ae9-8b2b-75a064a923f4","side":"buy","size":"0.00004147","price":"116827.85",'
    '"product_id":"BTC-USD","sequence":110614077300,"time":"2025-08-22T20:11:30.012637Z"}'
)
TICKER = (
    '{"type":"ticker","sequence":110614077300,"product_id":"BTC-USD","price":"116827.85","open_24h":"1",'
    '"volume_24h":"2.00000000","low_24h":"1","high_24h":"3","volume_30d":"4.00000000","best_bid":"116827.84",'
    '"best_bid_size":"0.00000001","best_ask":"116827.85","best_ask_size":"0.00000001","side":"sell",'
    '"time":"2025-08-22T20:11:30.012637Z","trade_id":865127782,"last_size":"0.00004147"}'
)
ACK = '{"type":"subscriptions","channels":[{"name":"matches","product_ids":["BTC-USD"],"account_ids":null}]}'


def frame(trade_id: int, after: int = 0, **fields: object) -> str:
    minutes, rest = divmod(after, MINUTE)
    time = f"2025-11-25T{5 + minutes // 60:02}:{minutes % 60:02}:{rest // SECOND:02}.{rest % SECOND:06}Z"
    known = {"trade_id": trade_id, "product_id": "BTC-USD", "price": "100", "size": "1", "side": "buy", "time": time}
    return json.dumps({"type": "match", "sequence": 10 * trade_id} | known | fields)


@pytest.fixture
def read(tmp_path: Path):
    def read(*lines: str):
        path = tmp_path / "frames"
        path.write_text("\n".join(lines))
        return read_recording(path)

    return read


def played(recording) -> list[tuple[int, int]]:
    return [(play.at - FIVE, play.trade.trade_id) for play in recording.plays]


@pytest.mark.parametrize(
    "line",
    [
        MATCH,
        TICKER,
        f'{{"timestamp_captured":"2025-08-22T20:11:29.968996+00:00","raw_message":{MATCH}}}',
        json.dumps({"ts": 1755893489.96, "pair": "BTC-USD", "raw": TICKER}),
        json.dumps([1755893489.96, MATCH]),
        f"1755893489.968996: {MATCH}",
        f"1755893489968996000 {TICKER}",
    ],
    ids=["match", "ticker", "envelope", "text in an envelope", "array", "session", "receive time before it"],
)
def test_a_trade_is_read_from_whatever_stands_around_its_frame(read, line):
    (play,) = read(line).plays

    only = play.trade
    assert (only.product_id, only.trade_id, only.sequence) == ("BTC-USD", 865127782, 110614077300)
    assert (only.price, only.size, only.side) == ("116827.85", "0.00004147", "buy")
    assert only.time == play.at == 1755893490012637


@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        zstandard.compress,
        lambda text: gzip.compress(text[:100]) + gzip.compress(text[100:]),
        lambda text: zstandard.compress(text[:100]) + zstandard.compress(text[100:]),
    ],
    ids=["plain", "gzip", "zstd", "two gzip members", "two zstd frames"],
)
def test_how_a_file_is_packed_is_seen_from_its_bytes(tmp_path, pack):
    path = tmp_path / "frames.txt"
    path.write_bytes(pack(f"{frame(1)}\n\n{frame(2)}\r\n".encode()))

    assert played(read_recording(path)) == [(0, 1), (0, 2)]


def test_frames_that_are_no_trades_are_ignored_and_counted(read):
    recording = read(
        "wss://ws-feed.pro.coinbase.com <-> 1618677816.8434298",
        'wss://ws-feed.pro.coinbase.com <- 1618677817.02: {"type":"subscribe","channels":["matches"]}',
        ACK,
        json.dumps({"ts": 1.5, "raw": ACK}),
        '{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1","2"]],"time":"2025-11-25T05:00:00.000001Z"}',
        '{"type":"ticker","product_id":"DOGE-USD","price":"0.1"}',
        frame(1),
    )

    assert played(recording) == [(0, 1)]
    assert dict(recording.ignored) == {
        "not received": 2, "subscriptions": 1, "envelope": 1, "l2update": 1, "ticker": 1,
    }  # fmt: skip


def test_a_trade_in_both_channels_is_played_once(read):
    recording = read(TICKER, MATCH)

    assert [play.trade.trade_id for play in recording.plays] == [865127782]
    assert recording.ignored == {"ticker of a match": 1}


def test_a_repeated_frame_is_played_where_it_was_repeated(read):
    recording = read(frame(1, 0), frame(2, 10), frame(1, 0), frame(3, 20))

    assert played(recording) == [(0, 1), (10, 2), (10, 1), (20, 3)]


def test_a_late_frame_of_one_product_holds_up_no_other(read):
    recording = read(frame(1, 10), frame(7, 5, product_id="ETH-USD"), frame(8, 20, product_id="ETH-USD"))

    assert played(recording) == [(5, 7), (10, 1), (20, 8)]


def test_recordings_of_two_connections_behind_each_other_are_played_side_by_side(read):
    recording = read(frame(1, 0), frame(2, 5 * MINUTE), frame(1, 0), frame(2, 5 * MINUTE))

    assert played(recording) == [(0, 1), (0, 1), (5 * MINUTE, 2), (5 * MINUTE, 2)]


def test_files_of_a_folder_may_overlap_and_leave_hours_out(tmp_path):
    (tmp_path / "a.ndjson").write_text(frame(2, 10))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.ndjson.gz").write_bytes(gzip.compress(f"{frame(1)}\n{frame(2, 10)}".encode()))
    (tmp_path / "d.ndjson").write_text(frame(3, 2 * HOUR + 1))
    (tmp_path / "README.md").write_text("no frames")
    (tmp_path / ".hidden").write_text("no frames")

    recording = read_recording(tmp_path)

    assert played(recording) == [(0, 1), (10, 2), (10, 2), (2 * HOUR + 1, 3)]
    assert recording.span.hours == 3


def test_a_last_match_counts_as_a_trade_of_a_recorded_hour(read):
    recording = read(frame(1, 10, type="last_match"), frame(2, 20), frame(1, 10, type="last_match"))

    assert played(recording) == [(10, 1), (20, 2), (20, 1)]


def test_a_last_match_of_an_hour_that_was_not_recorded_is_left_out(read):
    recording = read(frame(1, 10, type="last_match"), frame(2, HOUR))

    assert played(recording) == [(HOUR, 2)]
    assert recording.span.hours == 1
    assert recording.ignored == {"last_match before the first hour": 1}


def test_the_span_is_the_whole_hours_that_hold_trades(read):
    recording = read(frame(1, 59 * MINUTE), frame(2, HOUR))

    assert (recording.span.first_hour.hour, recording.span.end.hour, recording.span.hours) == (5, 7, 2)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "it holds no JSON object"),
        (frame(2)[:-20], "truncated"),
        (frame(2, size=None), "Expected `str`"),
        ('{"type":"match","trade_id":2}', "missing required field"),
        (frame(2, price="much"), "price 'much' is not a number"),
        (frame(2, size="NaN"), "size 'NaN' is not a number"),
        (frame(2, side="both"), "Invalid enum value 'both'"),
        (frame(2, time="yesterday"), "Invalid RFC3339"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(read, line, reason):
    with pytest.raises(RecordingError, match=rf"^Line 2 of the recording .*frames cannot be read: .*{reason}.*\.$"):
        read(frame(1), line)


def test_a_packed_file_that_ends_too_early_is_refused(tmp_path):
    path = tmp_path / "frames.zst"
    path.write_bytes(zstandard.compress(frame(1).encode())[:-4])

    with pytest.raises(RecordingError, match="ends in the middle of its compressed data"):
        read_recording(path)


@pytest.mark.parametrize("content", ["", ACK])
def test_a_recording_without_trades_is_refused(read, content):
    with pytest.raises(RecordingError, match="holds no trades"):
        read(content)


def test_a_recording_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="does not exist"):
        read_recording(tmp_path / "nowhere")
    with pytest.raises(RecordingError, match="is an empty folder"):
        read_recording(tmp_path)


def test_the_table_of_facts_gives_back_what_was_read(read, tmp_path):
    frames = read(frame(1, 0), frame(2, 10, price="0.00000001"), frame(1, 0), frame(7, 20, product_id="ETH-USD"))
    path = tmp_path / "table"
    path.write_bytes(table(frames.plays))

    facts = read_recording(path)

    assert facts == frames
    assert facts.plays[0].trade == trade(1)

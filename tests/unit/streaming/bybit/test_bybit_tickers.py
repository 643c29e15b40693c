import msgspec
import pytest

from streaming.bybit.parse import parse_frame
from streaming.bybit.tickers import Tickers
from tests.unit.streaming.bybit.frames import ticker

pytestmark = pytest.mark.unit

STAMPS = {"symbol": "BTCUSDT", "cs": 753843900397}


@pytest.fixture
def states():
    """What each frame makes of the state, decoded."""
    tickers = Tickers()

    def merge(*frames: bytes) -> list[dict | None]:
        merged = [tickers.merge(parse_frame(frame)) for frame in frames]
        return [None if state is None else msgspec.json.decode(state) for state in merged]

    return merge


def test_a_delta_changes_only_what_it_names(states):
    assert states(
        ticker("snapshot", 1, lastPrice="65114.30", bid1Price="65114.20"),
        ticker("delta", 2, bid1Price="65114.10"),
        ticker("delta", 3, lastPrice="65114.10"),
    ) == [
        STAMPS | {"lastPrice": "65114.30", "bid1Price": "65114.20", "ts": 1},
        STAMPS | {"lastPrice": "65114.30", "bid1Price": "65114.10", "ts": 2},
        STAMPS | {"lastPrice": "65114.10", "bid1Price": "65114.10", "ts": 3},
    ]


def test_a_snapshot_replaces_all_that_was_known(states):
    assert states(ticker("snapshot", 1, lastPrice="1", bid1Price="2"), ticker("snapshot", 2, lastPrice="3"))[1] == (
        STAMPS | {"lastPrice": "3", "ts": 2}
    )


def test_a_delta_without_a_snapshot_of_its_symbol_is_no_state(states):
    assert states(ticker("snapshot", symbol="ETHUSDT"), ticker("delta"))[1] is None


def test_values_stay_as_they_were_written():
    frame = b'{"topic":"tickers.X","type":"snapshot","data":{"a":1.10,"b":"1e-8","c":[ ]},"ts":5}'

    assert Tickers().merge(parse_frame(frame)) == b'{"a":1.10,"b":"1e-8","c":[ ],"ts":5}'

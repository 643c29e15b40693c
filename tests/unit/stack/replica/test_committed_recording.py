from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from stack.replica.recordings import DEFAULT_RECORDING, moment, read_recording

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def ids_by_hour() -> dict[tuple[str, int], list[int]]:
    """The ids of each product and hour, in the order in which they are played."""
    ids = defaultdict(list)
    for play in read_recording(DEFAULT_RECORDING).plays:
        ids[play.trade.product_id, moment(play.trade.time).hour].append(play.trade.trade_id)
    return dict(sorted(ids.items()))


def test_the_page_beside_it_tells_what_is_in_it(ids_by_hour):
    rows = []
    for (product_id, hour), ids in ids_by_hour.items():
        trades, first, last = len(set(ids)), min(ids), max(ids)
        rows.append(f"| {product_id} | {hour:02} | {trades:,} | {first} | {last} | {last - first + 1 - trades:,} |")
    between = [
        f"{min(ids_by_hour[product_id, 6]) - max(ids_by_hour[product_id, 5]) - 1:,} of {product_id}"
        for product_id in ("BTC-USD", "ETH-USD", "SOL-USD")
    ]

    page = (DEFAULT_RECORDING.parent / "README.md").read_text()

    assert [line for line in page.splitlines() if line.startswith("| ") and "-USD" in line] == rows
    assert ", ".join(between) in page


def test_the_page_names_the_repeated_trades(ids_by_hour):
    counts = Counter((product_id, one) for (product_id, _), ids in ids_by_hour.items() for one in ids)
    repeated = [(product_id, one) for (product_id, one), count in counts.items() if count > 1]

    page = (DEFAULT_RECORDING.parent / "README.md").read_text()

    assert [product_id for product_id, _ in repeated] == ["ETH-USD", "ETH-USD"]
    assert all(str(one) in page for _, one in repeated)


def test_it_is_small():
    assert DEFAULT_RECORDING.stat().st_size < 2_000_000

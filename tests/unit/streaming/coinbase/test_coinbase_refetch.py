import argparse

import pytest

from streaming.coinbase.refetch import Wanted, wanted

pytestmark = pytest.mark.unit


def test_a_product_and_its_ids_are_read_with_both_ends():
    assert wanted("BTC-USD:100-200") == Wanted("BTC-USD", range(100, 201))
    assert wanted("BTC-USD:7-7") == Wanted("BTC-USD", range(7, 8))


@pytest.mark.parametrize("text", ["BTC-USD", "BTC-USD:7", "BTC-USD:9-7", ":1-2", "BTC-USD:a-b", "BTC-USD:1-2-3"])
def test_anything_else_is_refused_in_one_sentence(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="is not like BTC-USD:100-200"):
        wanted(text)

from datetime import UTC, datetime, timedelta

import pytest

from include.contracts import bronze, silver
from spark_apps.bronze_to_silver import transforms
from tests.unit.spark_apps.conftest import NINE, as_dicts

pytestmark = pytest.mark.unit

PRODUCT = {"venue": "coinbase", "market": "spot", "product_id": "BTC-USD"}
TEN = NINE + timedelta(hours=1)
LATE_AFTER = timedelta(minutes=5)


def at(minute: int, second: float = 0, *, hour: int = 9) -> datetime:
    return datetime(2026, 11, 20, hour, minute, int(second), round(second % 1 * 1e6), UTC)


SIX, HALF_PAST = at(0, hour=6), at(30)


def wire(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def trade(trade_id: object, time: datetime | str = HALF_PAST, **other: object) -> dict[str, object]:
    """A Bronze row of a plain trade that came at once by the live feed; its offset is its id unless said."""
    arrived = time if isinstance(time, datetime) else HALF_PAST
    return {
        **PRODUCT,
        "_ingested_at": arrived,
        "_raw_payload": "{}",
        "_kafka_topic": "coinbase.raw.trades",
        "_kafka_partition": 0,
        "_kafka_offset": trade_id if isinstance(trade_id, int) else 0,
        "_kafka_time": arrived,
        "_source": "ws",
        "_frame_index": 0,
        "trade_id": str(trade_id),
        "sequence": trade_id if isinstance(trade_id, int) else None,
        "price": "100.5",
        "size": "0.25",
        "side": "buy",
        "time": wire(time) if isinstance(time, datetime) else time,
        **other,
    }


@pytest.fixture
def judged(rows_of):
    return lambda *rows: transforms.judge(rows_of(bronze.TRADES, *rows), LATE_AFTER)


@pytest.fixture
def trades(judged):
    return lambda *rows: transforms.trades(judged(*rows), NINE)


@pytest.fixture
def quarantine(judged):
    return lambda *rows: transforms.quarantine(judged(*rows), NINE)


def only(frame, *names):
    [row] = as_dicts(frame, *names)
    return row


def test_a_match_becomes_a_typed_trade_with_the_takers_side(trades):
    given = trade(
        910978571, time="2026-11-20T09:30:00.019483Z", price="87981.14", size="0.00036295", side="sell",
        _ingested_at=at(30, 0.319484),
    )  # fmt: skip

    row = only(
        trades(given).selectExpr("*", "cast(price as string) as p", "cast(size as string) as s").drop("price", "size")
    )

    assert row == {
        **PRODUCT,
        "trade_id": 910978571,
        "trade_ref": "910978571",
        "sequence": 910978571,
        "_frame_index": 0,
        "p": "87981.14000000",
        "s": "0.00036295",
        "side": "buy",
        "trade_time": "2026-11-20 09:30:00.019483",
        "ingested_at": "2026-11-20 09:30:00.319484",
        "_is_late_arrival": False,
        "_source_latency_ms": 300,
    }


@pytest.mark.parametrize(
    ("market", "ref", "number"),
    [("linear", "a9188a0a-82bc-50de-be60-03eedbe3cdd7", None), ("spot", "2280000001739247417", 2280000001739247417)],
)
def test_a_trade_of_bybit_is_known_by_its_reference_and_says_the_takers_side(trades, market, ref, number):
    given = trade(
        ref, "2026-11-20T09:30:00.019Z", venue="bybit", market=market, product_id="BTCUSDT", side="Sell",
        sequence=753843954913, _frame_index=3,
    )  # fmt: skip

    assert only(trades(given), "trade_id", "trade_ref", "sequence", "_frame_index", "side", "trade_time") == {
        "trade_id": number,
        "trade_ref": ref,
        "sequence": 753843954913,
        "_frame_index": 3,
        "side": "sell",
        "trade_time": "2026-11-20 09:30:00.019",
    }


def test_trades_that_share_their_sequence_are_all_kept_and_the_same_symbol_of_two_markets_is_two_products(trades):
    swept = {"venue": "bybit", "product_id": "BTCUSDT", "side": "Buy", "sequence": 7}
    given = [
        trade("a", market="linear", _kafka_offset=0, **swept),
        trade("b", market="linear", _kafka_offset=1, **swept),
        trade("b", market="linear", _kafka_offset=2, **swept),
        trade("a", market="spot", _kafka_offset=3, **swept),
    ]

    assert as_dicts(trades(*given), "market", "trade_ref") == [
        {"market": "linear", "trade_ref": "a"},
        {"market": "linear", "trade_ref": "b"},
        {"market": "spot", "trade_ref": "a"},
    ]


def test_no_hole_is_seen_in_ids_that_are_not_counted(judged, rows_of):
    given = [trade(str(number), venue="bybit", market="spot", side="Buy") for number in (1, 5)]
    followed = transforms.evidence(rows_of(bronze.INGESTION_PROGRESS), NINE)

    assert transforms.holes(judged(*given), followed, NINE, NINE, TEN).isEmpty()


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-11-20T09:30:01.123456Z", "2026-11-20 09:30:01.123456"),
        ("2026-11-20T09:30:01.98Z", "2026-11-20 09:30:01.98"),
        ("2026-11-20T09:30:01.1Z", "2026-11-20 09:30:01.1"),
        ("2026-11-20T09:30:01Z", "2026-11-20 09:30:01"),
        ("2026-11-20T09:30:01.123456000Z", "2026-11-20 09:30:01.123456"),
    ],
)
def test_every_form_of_an_exchange_time_is_read_exactly(trades, time, expected):
    assert only(trades(trade(1, time)), "trade_time") == {"trade_time": expected}


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        ({"time": "2026-11-20T09:30:01.1234567Z"}, "time_readable"),
        ({"time": "2026-11-20T09:30:01+02:00"}, "time_readable"),
        ({"time": "2026-11-20T09:61:00Z"}, "time_readable"),
        ({"time": None}, "time_readable"),
        ({"price": "abc"}, "price_is_decimal"),
        ({"price": None}, "price_is_decimal"),
        ({"price": "NaN"}, "price_is_decimal"),
        ({"price": "1e2"}, "price_is_decimal"),
        ({"price": " 1"}, "price_is_decimal"),
        ({"price": "12345678901"}, "price_is_decimal"),
        ({"price": "0.123456789"}, "price_is_decimal"),
        ({"size": "1,5"}, "size_is_decimal"),
        ({"size": "0.000000001"}, "size_is_decimal"),
        ({"price": "0"}, "price_positive"),
        ({"price": "-1.5"}, "price_positive"),
        ({"size": "0.00000000"}, "size_positive"),
        ({"side": "BUY"}, "side_known"),
        ({"side": None}, "side_known"),
        ({"venue": "bybit", "side": "buy"}, "side_known"),
        ({"venue": "unknown"}, "side_known"),
        ({"trade_id": "7a"}, "id_is_number"),
        ({"trade_id": "1.0"}, "id_is_number"),
        ({"price": "x", "size": "-1", "side": "?"}, "price_is_decimal"),
    ],
)
def test_a_row_that_breaks_a_rule_is_kept_as_received_under_the_first_rule_that_it_broke(
    trades, quarantine, broken, rule
):
    given = trade(1) | broken

    assert trades(given).isEmpty()
    received = only(quarantine(given), "rule_id", "price", "size", "side", "time", "trade_id", "_kafka_offset")
    assert received == {"rule_id": rule} | {name: given[name] for name in received if name != "rule_id"}


def test_a_good_row_is_not_kept_as_received_as_well(judged):
    given = (trade(1), trade(2, price="abc"))

    kept = as_dicts(judged(*given), "trade_ref", "received._raw_payload")

    assert kept == [{"trade_ref": "1", "_raw_payload": None}, {"trade_ref": "2", "_raw_payload": "{}"}]


@pytest.mark.parametrize("price", ["9999999999.99999999", "0.00000001", "100", "100.", "1.500000000000"])
def test_a_number_that_fits_is_not_rounded(trades, price):
    assert only(trades(trade(1, price=price)).selectExpr(f"price = cast('{price}' as decimal(38,18)) as same")) == {
        "same": True
    }


def test_of_copies_of_a_trade_the_lowest_offset_is_kept(trades):
    given = (trade(1, _kafka_offset=8, price="2"), trade(1, _kafka_offset=7, price="1"), trade(2, _kafka_offset=9))

    kept = as_dicts(trades(*given).selectExpr("trade_id", "cast(price as string) as price"))

    assert kept == [{"trade_id": 1, "price": "1.00000000"}, {"trade_id": 2, "price": "100.50000000"}]


def test_a_broken_copy_does_not_shadow_a_good_one(trades, quarantine):
    given = (trade(1, _kafka_offset=7, price="abc"), trade(1, _kafka_offset=8))

    assert only(trades(*given), "trade_id") == {"trade_id": 1}
    assert only(quarantine(*given), "_kafka_offset") == {"_kafka_offset": 7}


def test_the_same_id_of_another_product_is_another_trade(trades):
    assert trades(trade(1), trade(1, product_id="ETH-USD")).count() == 2


def test_an_hour_is_closed_on_the_left(trades):
    given = (
        trade(1, at(59, 59.999999, hour=8)),
        trade(2, NINE),
        trade(3, at(59, 59.999999)),
        trade(4, TEN),
    )

    assert [row["trade_id"] for row in as_dicts(trades(*given), "trade_id")] == [2, 3]


@pytest.mark.parametrize(
    ("row", "is_ours"),
    [
        (trade(1, time="2026-11-20T09:99:99Z", _ingested_at=at(0, hour=11)), True),
        (trade(1, time="2026-11-20T24:00:00Z", _ingested_at=at(30)), True),
        (trade(1, time="yesterday", _ingested_at=at(30)), True),
        (trade(1, time="yesterday", _ingested_at=at(0, hour=11)), False),
        (trade(1, time="2026-11-20T11:99:99Z", _ingested_at=at(30)), False),
    ],
)
def test_an_unreadable_time_is_judged_in_the_hour_it_names_or_else_in_that_of_its_arrival(quarantine, row, is_ours):
    assert quarantine(row).isEmpty() is not is_ours


@pytest.mark.parametrize(
    ("source", "age", "is_late"),
    [
        ("ws", timedelta(minutes=5), False),
        ("ws", timedelta(minutes=5, microseconds=1), True),
        ("rest", timedelta(hours=3), False),
    ],
)
def test_only_the_live_feed_can_be_late(trades, source, age, is_late):
    row = only(trades(trade(1, at(10), _source=source, _ingested_at=at(10) + age)), "_is_late_arrival")

    assert row == {"_is_late_arrival": is_late}


def test_rows_far_from_the_hour_are_not_looked_at(rows_of):
    rows = rows_of(
        bronze.TRADES,
        trade(1, at(59, 57, hour=8)),
        trade(2, "2026-11-20T08:59:58Z"),
        trade(3, at(30)),
        trade(4, at(0, 3.5, hour=10)),
        trade(5, at(0, 4, hour=10)),
        trade(6, "yesterday", _ingested_at=at(30)),
    )

    near = transforms.near(rows, NINE, since=at(59, 58.5, hour=8), until=at(0, 3, hour=10))

    assert [row["trade_id"] for row in as_dicts(near, "trade_id")] == ["2", "3", "4", "6"]


# What progress proves


def progress(closed_through: datetime, last_trade_id: int | None = None, covered_from: datetime = SIX, **other):
    return {
        **PRODUCT,
        "covered_from": covered_from,
        "closed_through": closed_through,
        "last_trade_id": last_trade_id,
    } | other


@pytest.fixture
def evidence(rows_of):
    return lambda *rows: transforms.evidence(rows_of(bronze.INGESTION_PROGRESS, *rows), NINE)


def test_the_evidence_is_what_was_known_last_before_the_hour_and_first_after_it(evidence):
    records = [progress(at(m, hour=h), i) for h, m, i in ((8, 58, 1), (8, 59, 2), (9, 30, 5), (10, 0, 8), (10, 1, 9))]

    assert only(evidence(*records)) == {
        **PRODUCT,
        "covered_from": "2026-11-20 06:00:00",
        "is_closed": True,
        "before_time": "2026-11-20 08:59:00",
        "before_id": 2,
        "after_time": "2026-11-20 10:00:00",
        "after_id": 8,
    }


@pytest.mark.parametrize(
    ("covered_from", "closed_through", "is_closed"),
    [
        (NINE, TEN, True),
        (NINE, TEN - timedelta(microseconds=1), False),
        (NINE + timedelta(microseconds=1), TEN, False),
        (NINE, TEN + timedelta(days=3), True),
    ],
)
def test_an_hour_is_closed_if_the_product_was_followed_from_its_start_to_its_end(
    evidence, covered_from, closed_through, is_closed
):
    row = only(evidence(progress(closed_through, covered_from=covered_from)), "is_closed")

    assert row == {"is_closed": is_closed}


@pytest.mark.parametrize(
    ("records", "is_closed"),
    [
        ((progress(at(20)), progress(TEN, covered_from=at(30))), False),
        ((progress(TEN), progress(at(1, hour=10), covered_from=at(0, 0.5, hour=10))), True),
        ((progress(at(59, hour=8)), progress(TEN, covered_from=at(59, 30, hour=8))), True),
    ],
    ids=["broken within the hour", "broken after it", "broken before it"],
)
def test_an_hour_is_not_closed_if_the_product_was_followed_with_a_break_in_it(evidence, records, is_closed):
    assert only(evidence(*records), "is_closed") == {"is_closed": is_closed}


def test_an_hour_from_before_a_product_was_followed_is_closed_by_history_that_was_fetched_later(evidence):
    live = [progress(at(m, hour=12), 20 + m, covered_from=TEN) for m in (1, 2)]

    assert only(evidence(*live, progress(at(3, hour=10), 12)), "is_closed", "after_time", "after_id") == {
        "is_closed": True,
        "after_time": "2026-11-20 10:03:00",
        "after_id": 12,
    }


def test_a_product_that_is_followed_only_since_the_hour_was_over_is_no_part_of_it(evidence):
    assert evidence(progress(at(0, hour=11), covered_from=TEN)).isEmpty()


# Holes


def gap(first: int, last: int, since: datetime, until: datetime, state: str = "open") -> dict[str, object]:
    return {
        **PRODUCT,
        "hour_start": NINE,
        "first_missing_id": first,
        "last_missing_id": last,
        "missing_count": last - first + 1,
        "gap_from": since,
        "gap_until": until,
        "state": state,
    }


@pytest.fixture
def gaps(rows_of, judged, evidence):
    """Find the holes of nine o'clock, from an hour before to an hour after."""

    def find(*trades, records=(), events=()):
        around = (NINE - timedelta(hours=1), TEN + timedelta(hours=1))
        holes = transforms.holes(judged(*trades), evidence(*records), NINE, *around)
        return transforms.trade_gaps(holes, rows_of(bronze.INGESTION_EVENTS, *events))

    return find


@pytest.fixture
def expect(rows_of):
    return lambda *holes: as_dicts(rows_of(silver.TRADE_GAPS, *holes))


def test_ids_without_a_hole_make_no_row_however_often_they_come(gaps):
    assert gaps(trade(1), trade(2), trade(2, _kafka_offset=9), trade(3)).isEmpty()


def test_a_hole_is_named_by_its_first_and_last_id_and_the_times_around_it(gaps, expect):
    given = (trade(5, at(10)), trade(9, at(12)), trade(10, at(13)), trade(12, at(20)))

    assert as_dicts(gaps(*given)) == expect(gap(6, 8, at(10), at(12)), gap(11, 11, at(13), at(20)))


def test_each_product_counts_its_own_ids(gaps):
    assert gaps(trade(1), trade(5, product_id="ETH-USD"), trade(2), trade(6, product_id="ETH-USD")).isEmpty()


def test_a_trade_in_quarantine_leaves_a_hole(gaps, expect):
    given = (trade(1, at(10)), trade(2, at(11), price="abc"), trade(3, at(12)))

    assert as_dicts(gaps(*given)) == expect(gap(2, 2, at(10), at(12)))


@pytest.mark.parametrize(
    ("before", "after"),
    [(at(59, hour=8), at(1)), (at(59), at(1, hour=10)), (at(30, hour=8), at(30, hour=10))],
)
def test_a_hole_over_the_edge_of_the_hour_touches_it(gaps, expect, before, after):
    assert as_dicts(gaps(trade(1, before), trade(4, after))) == expect(gap(2, 3, before, after))


@pytest.mark.parametrize(("before", "after"), [(at(10, hour=8), at(20, hour=8)), (TEN, at(10, hour=10))])
def test_a_hole_of_another_hour_does_not_touch_it(gaps, before, after):
    assert gaps(trade(1, before), trade(4, after)).isEmpty()


def test_the_last_id_before_the_hour_may_be_known_from_progress_alone(gaps, expect):
    records = (progress(at(59, 58, hour=8), 4), progress(TEN, 7))

    assert as_dicts(gaps(trade(7, at(10)), records=records)) == expect(gap(5, 6, at(59, 58, hour=8), at(10)))


def test_the_last_id_of_the_hour_may_be_known_from_progress_alone(gaps, expect):
    records = (progress(NINE, 4), progress(at(0, 2, hour=10), 7))

    assert as_dicts(gaps(trade(5, at(10)), records=records)) == expect(gap(6, 7, at(10), at(0, 2, hour=10)))


def test_an_hour_without_a_trade_can_be_one_hole(gaps, expect):
    records = (progress(NINE, 4), progress(TEN, 6))

    assert as_dicts(gaps(records=records)) == expect(gap(5, 6, NINE, TEN))


def test_an_hour_without_trades_or_new_ids_has_no_hole(gaps):
    assert gaps(records=(progress(NINE, 4), progress(TEN, 4))).isEmpty()


def test_what_was_found_after_the_hour_was_closed_does_not_change_it(gaps):
    records = (progress(NINE, 4), progress(at(0, 2, hour=10), 5))

    assert gaps(trade(5, at(10)), trade(9, at(0, 5, hour=10)), records=records).isEmpty()


def test_history_that_arrives_in_the_hour_is_no_neighbour_of_its_trades(gaps):
    given = (trade(1, at(0, hour=2), _ingested_at=at(10)), trade(900, at(10)), trade(901, at(11)))

    assert gaps(*given).isEmpty()


def event(first: int, last: int, state: str, **other: object) -> dict[str, object]:
    payload = f'{{"kind":"gap","first_missing_id":{first},"last_missing_id":{last},"state":"{state}"}}'
    return {**PRODUCT, "_ingested_at": at(40), "_raw_payload": payload, "reason": "test"} | other


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((event(2, 3, "unavailable"),), "unavailable"),
        ((event(1, 9, "unavailable"), event(2, 3, "unavailable")), "unavailable"),
        ((event(2, 2, "unavailable"),), "open"),
        ((event(2, 3, "open"),), "open"),
        ((event(2, 3, "unavailable", product_id="ETH-USD"),), "open"),
        ((event(2, 3, "unavailable", _raw_payload='{"kind":"reconnect"}'),), "open"),
    ],
)
def test_a_hole_is_unavailable_if_the_producers_say_so_of_all_of_it(gaps, expect, events, state):
    found = gaps(trade(1, at(10)), trade(4, at(12)), events=events)

    assert as_dicts(found) == expect(gap(2, 3, at(10), at(12), state))


def test_a_hole_of_which_nothing_is_told_is_open_as_one_that_the_producers_did_not_find(judged, evidence, gaps):
    given = (trade(1, at(10)), trade(4, at(12)))
    holes = transforms.holes(judged(*given), evidence(), NINE, NINE, TEN)

    assert as_dicts(transforms.trade_gaps(holes, None)) == as_dicts(gaps(*given))


# Hours of products


@pytest.fixture
def product_hours(rows_of, evidence):
    def count(trades=(), holes=(), records=()):
        return transforms.product_hours(
            rows_of(silver.TRADES, *trades), rows_of(silver.TRADE_GAPS, *holes), evidence(*records), NINE
        )

    return count


HOUR = {**PRODUCT, "hour_start": "2026-11-20 09:00:00"}


def test_a_followed_product_has_an_hour_without_a_trade(product_hours):
    assert only(product_hours(records=(progress(TEN),))) == {
        **HOUR, "is_closed": True, "trade_count": 0, "missing_count": 0,
    }  # fmt: skip


def test_a_product_that_nobody_vouches_for_has_its_trades_counted_and_is_not_closed(product_hours):
    assert only(product_hours(trades=({**PRODUCT, "trade_id": 1}, {**PRODUCT, "trade_id": 2}))) == {
        **HOUR, "is_closed": False, "trade_count": 2, "missing_count": 0,
    }  # fmt: skip


def test_missing_ids_are_counted_over_the_holes(product_hours):
    holes = (gap(2, 4, at(10), at(12)), gap(7, 7, at(13), at(20)))

    assert only(product_hours(holes=holes, records=(progress(TEN),)), "missing_count") == {"missing_count": 4}

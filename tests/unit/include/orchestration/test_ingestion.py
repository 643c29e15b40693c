import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from include.orchestration.ingestion import (
    Backlog,
    Commit,
    CommitCheck,
    FeedCheck,
    GivenUp,
    LagCheck,
    Reading,
    Restarts,
    Stillness,
    Trouble,
    Wanted,
    drift_in_words,
    wished,
)
from include.settings import Endpoint

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIMIT = timedelta(seconds=90)


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_thing_is_still_for_too_long_when_it_has_not_changed_within_the_limit():
    clock = Clock()
    still = Stillness(LIMIT, clock)
    seen = []
    for seconds, value in ((0, "a"), (90, "a"), (91, "a"), (92, "b"), (182, "b"), (183, "b")):
        clock.now = seconds
        seen.append(still.is_too_long("x", value))

    assert seen == [False, False, True, False, False, True]


def test_things_are_still_each_for_itself():
    clock = Clock()
    still = Stillness(LIMIT, clock)
    still.is_too_long("x", 1)
    clock.now = 80
    still.is_too_long("y", 1)
    clock.now = 100

    assert still.is_too_long("x", 1)
    assert not still.is_too_long("y", 1)


TRADES, TICKERS = "coinbase.raw.trades", "coinbase.raw.tickers"
INTERVALS = {TRADES: timedelta(seconds=10), TICKERS: timedelta(minutes=1)}


def lag_readings(*moments: tuple[float, dict[str, Backlog]]) -> list[Reading]:
    """What the check says when it reads these backlogs at these seconds."""
    clock, seen = Clock(), iter(backlogs for _, backlogs in moments)
    check = LagCheck(seen.__next__, INTERVALS, LIMIT, clock)
    readings = []
    for seconds, _ in moments:
        clock.now = seconds
        readings.append(check.look())
    return readings


def test_records_that_wait_while_others_are_committed_are_no_trouble():
    readings = lag_readings(
        (0, {TRADES: Backlog(500, {0: 10, 1: 20})}),
        (100, {TRADES: Backlog(9000, {0: 10, 1: 21})}),
        (200, {TRADES: Backlog(90000, {0: 11, 1: 21})}),
    )

    assert [reading.troubles for reading in readings] == [(), (), ()]
    assert readings[-1].facts == {"records_behind": {TRADES: 90000}}


def test_records_that_wait_without_a_commit_are_the_writers_trouble_after_the_limit_and_its_interval():
    stuck = {TRADES: Backlog(500, {0: 10}), TICKERS: Backlog(7, {0: 3})}

    readings = lag_readings((0, stuck), (100, stuck), (101, stuck), (150, stuck), (151, stuck))

    of_trades = Trouble("bronze-writer", f"500 records of {TRADES} wait and none is committed")
    of_both = Trouble("bronze-writer", f"500 records of {TRADES}, 7 records of {TICKERS} wait and none is committed")
    assert [reading.troubles for reading in readings] == [(), (), (of_trades,), (of_trades,), (of_both,)]


def test_a_topic_in_which_nothing_waits_may_stand_still_for_ever_and_its_next_records_wait_from_then_on():
    quiet, busy = {TRADES: Backlog(0, {0: 10})}, {TRADES: Backlog(1, {0: 10})}

    readings = lag_readings((0, quiet), (1000, quiet), (1001, busy), (1101, busy), (1102, busy))

    assert [bool(reading.troubles) for reading in readings] == [False, False, False, False, True]


def commit_readings(*moments: tuple[float, Commit]) -> list[Reading]:
    clock, seen = Clock(), iter(commit for _, commit in moments)
    check = CommitCheck(seen.__next__, INTERVALS[TRADES], LIMIT, clock)
    readings = []
    for seconds, _ in moments:
        clock.now = seconds
        readings.append(check.look())
    return readings


def test_a_commit_that_stays_the_last_while_trades_wait_is_the_writers_trouble_after_the_limit_and_its_interval():
    awaited = Commit(NOON, is_awaited=True)

    readings = commit_readings((0, awaited), (100, awaited), (101, awaited))

    reason = f"trades wait, and the last commit to bronze.trades is of {NOON}"
    assert [reading.troubles for reading in readings] == [(), (), (Trouble("bronze-writer", reason),)]
    assert readings[0].facts == {"last_commit": NOON.isoformat()}


def test_an_old_commit_is_no_trouble_while_nothing_waits_or_another_one_came():
    quiet, awaited = Commit(NOON, is_awaited=False), Commit(NOON, is_awaited=True)
    newer = Commit(NOON + LIMIT, is_awaited=True)

    readings = commit_readings((0, quiet), (1000, quiet), (1001, awaited), (1101, newer), (1201, newer))

    assert [reading.troubles for reading in readings] == [()] * 5


def test_a_table_without_a_commit_is_in_trouble_once_trades_have_waited_for_the_first():
    none = Commit(None, is_awaited=True)

    *_, last = commit_readings((0, none), (101, none))

    reason = "trades wait, and the last commit to bronze.trades is of never"
    assert last == Reading({"last_commit": None}, (Trouble("bronze-writer", reason),))


def test_each_restart_makes_the_next_one_later_until_none_is_left():
    restarts = Restarts(pause=timedelta(seconds=30), limit=3)
    dues = []
    now = NOON
    while not restarts.is_exhausted(now):
        now = restarts.due(now)
        dues.append((now - NOON).total_seconds())
        restarts = Restarts((*restarts.recent(now), now), pause=restarts.pause, limit=restarts.limit)

    assert dues == [0, 30, 90]


def test_restarts_of_long_ago_do_not_count():
    restarts = Restarts(tuple(NOON - timedelta(minutes=m) for m in (90, 80, 70, 61, 5)))

    assert restarts.recent(NOON) == (NOON - timedelta(minutes=5),)
    assert not restarts.is_exhausted(NOON)


def test_a_service_that_is_given_up_is_told_once_until_a_person_restarts_it():
    told = GivenUp().plus("bronze-writer", NOON)

    assert not GivenUp().is_known("bronze-writer", None)
    assert told.is_known("bronze-writer", None)
    assert told.is_known("bronze-writer", NOON - LIMIT)
    assert not told.is_known("bronze-writer", NOON + LIMIT)
    assert not told.is_known("producer-coinbase", None)


def test_a_service_that_is_well_again_can_be_given_up_anew():
    assert GivenUp().plus("bronze-writer", NOON).minus("bronze-writer") == GivenUp()


def test_what_was_given_up_is_read_as_it_was_written():
    told = GivenUp({"producer-coinbase": NOON, "bronze-writer": NOON + LIMIT})

    assert GivenUp.of(told.as_json()) == told
    assert GivenUp.of({}) == GivenUp()


def test_what_is_wanted_is_read_as_it_was_written():
    wanted = Wanted(frozenset({"producer-coinbase"}), {"bronze-writer": NOON}, writer_cores=2)

    assert Wanted.of(wanted.as_json()) == wanted
    assert Wanted.of({}) == Wanted()


def test_pause_holds_until_resume():
    paused = wished(Wanted(), "pause", ("bronze-writer",), NOON)
    resumed = wished(paused, "resume", ("bronze-writer",), NOON)

    assert paused.paused == {"bronze-writer"}
    assert resumed == Wanted(forgiven={"bronze-writer": NOON})


def test_a_drain_pauses_the_producers_and_leaves_the_writer_at_work():
    assert wished(Wanted(), "drain", ("bronze-writer", "producer-coinbase"), NOON).paused == {"producer-coinbase"}


def test_a_drain_holds_until_a_producer_is_to_send_again():
    services = ("bronze-writer", "producer-coinbase", "producer-bybit", "producer-coingecko")
    drained = wished(Wanted(), "drain", services, NOON)

    assert drained.is_drained
    assert not wished(drained, "resume", ("producer-coinbase",), NOON).is_drained


def test_a_scale_changes_the_writers_cores_alone_and_is_kept_by_every_other_action():
    before = Wanted(frozenset({"bronze-writer"}), {"bronze-writer": NOON})
    scaled = wished(before, "scale", ("bronze-writer",), NOON + LIMIT, writer_cores=3)

    assert scaled == Wanted(before.paused, before.forgiven, writer_cores=3)
    for action in ("pause", "resume", "drain", "restart"):
        assert wished(scaled, action, ("bronze-writer",), NOON).writer_cores == 3


def test_a_restart_forgives_the_service_alone():
    wanted = Wanted(forgiven={"bronze-writer": NOON - LIMIT, "producer-coinbase": NOON - LIMIT})

    assert wished(wanted, "restart", ("bronze-writer",), NOON).forgiven == {
        "bronze-writer": NOON,
        "producer-coinbase": NOON - LIMIT,
    }


def test_an_action_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="there are pause, resume, drain, restart, scale, fetch history"):
        wished(Wanted(), "reboot", (), NOON)


@pytest.fixture
def endpoint() -> Endpoint:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Endpoint(port=probe.getsockname()[1])


@contextmanager
def serving(registry: CollectorRegistry, endpoint: Endpoint) -> Iterator[None]:
    """Answer as a producer does."""
    server, thread = start_http_server(endpoint.port, addr=endpoint.host, registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_producer_that_hears_frames_is_well_and_one_that_hears_none_is_in_trouble(endpoint: Endpoint):
    registry = CollectorRegistry()
    frames = Counter("ingestion_frames", "", ("venue", "channel"), registry=registry).labels("coinbase", "heartbeat")
    Counter("ingestion_delivered_records", "", ("venue",), registry=registry).labels("coinbase").inc(5)
    last_id = Gauge("ingestion_last_trade_id", "", ("venue", "market", "product_id"), registry=registry)
    last_id.labels("coinbase", "spot", "A-B").set(7)
    with serving(registry, endpoint):
        check = FeedCheck({"coinbase": endpoint}, timedelta(0))
        readings = []
        for heard in (1, 1, 0):
            frames.inc(heard)
            readings.append(check.look())

    assert [reading.troubles for reading in readings] == [
        (),
        (),
        (Trouble("producer-coinbase", "has heard nothing from the venue"),),
    ]
    assert readings[-1].facts["coinbase"]["frames"] == 2
    assert readings[-1].facts["coinbase"]["last_trade_id"] == {"spot/A-B": 7}


def test_a_venue_that_is_polled_is_silent_until_its_next_request_is_due(endpoint: Endpoint):
    registry = CollectorRegistry()
    Counter("ingestion_frames", "", ("venue", "channel"), registry=registry).labels("coingecko", "prices")
    Counter("ingestion_delivered_records", "", ("venue",), registry=registry).labels("coingecko")
    due = Gauge("ingestion_next_request_seconds", "", ("venue",), registry=registry).labels("coingecko")
    with serving(registry, endpoint):
        check = FeedCheck({"coingecko": endpoint}, timedelta(0))
        readings = []
        for seconds in (3600, 3600, -1, -1):
            due.set(time.time() + seconds)
            readings.append(check.look())

    assert [reading.troubles for reading in readings] == [
        (),
        (),
        (),
        (Trouble("producer-coingecko", "has heard nothing from the venue"),),
    ]
    assert 3500 < readings[0].facts["coingecko"]["next_request_in"] <= 3600


def test_a_producer_that_does_not_answer_is_in_trouble_after_the_limit(endpoint: Endpoint):
    check = FeedCheck({"coinbase": endpoint}, timedelta(0))

    first, second = check.look(), check.look()

    assert first.troubles == ()
    ((trouble),) = second.troubles
    assert trouble.service == "producer-coinbase"
    assert "does not answer" in trouble.reason


@pytest.mark.parametrize(
    ("kind", "expected", "end"),
    [
        ("new_field", None, "has a new field products[].id (number); frames are kept with it as received"),
        ("retyped_field", "string", "number where string was before; frames are kept with it as received"),
        ("changed_type", "str", "number where str was expected: 3 frames became dead letters"),
    ],
)
def test_an_alert_says_whether_frames_are_kept_with_what_differs(kind, expected, end):
    drift = {"venue": "coinbase", "message_type": "status", "field": "products[].id", "got": "number", "count": 3}

    words = drift_in_words(drift | {"kind": kind, "expected": expected})

    assert words.startswith("coinbase: status has ")
    assert words.endswith(end)

from datetime import UTC, datetime, timedelta

import pytest

from include.orchestration.dead_letters import NOTE_LENGTH, Choice, Found, Outcome, cut, listing, venues

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FORM = {"action": "list", "venue": "any", "reason": "", "since": None, "until": None, "offsets": ""}


def letter(offset: int, venue: str = "coinbase", reason: str = "truncated", minutes: int = 0) -> Found:
    return Found(f"{venue}.dlq/0/{offset}", NOON + timedelta(minutes=minutes), venue, reason)


def test_an_empty_form_means_every_letter():
    assert Choice.of(FORM) == Choice()
    assert Choice().condition == "true"


def test_a_form_is_a_condition_of_the_table():
    form = FORM | {"venue": "bybit", "since": "2026-11-20T09:00:00Z", "until": "2026-11-20T11:00:00+01:00"}
    with pytest.raises(ValueError, match="no letter would be meant"):
        Choice.of(form | {"since": "2026-11-20T10:00:00Z"})

    assert Choice.of(form).condition == (
        "venue == 'bybit' and _ingested_at >= '2026-11-20T09:00:00.000000+00:00'"
        " and _ingested_at < '2026-11-20T10:00:00.000000+00:00'"
    )


@pytest.mark.parametrize(
    ("written", "first", "last"), [("coinbase.dlq/0/17", 17, 17), (" bybit.raw.trades/2/5-9 ", 5, 9)]
)
def test_offsets_are_exactly_these(written, first, last):
    choice = Choice.of(FORM | {"offsets": written})

    assert (choice.offsets[0], choice.offsets[-1]) == (first, last)
    assert choice.condition == (
        f"_kafka_topic == '{choice.topic}' and _kafka_partition == {choice.partition}"
        f" and _kafka_offset >= {first} and _kafka_offset < {last + 1}"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("offsets", "coinbase.dlq"), ("offsets", "coinbase.dlq/0/9-5"), ("offsets", "a'/0/1"), ("since", "yesterday")],
)
def test_a_field_that_cannot_be_read_is_named(field, value):
    with pytest.raises(ValueError, match=field):
        Choice.of(FORM | {field: value})


def test_letters_are_counted_by_venue_and_reason_most_of_all_first():
    letters = [letter(1), letter(2, minutes=5), letter(3, "bybit", "no topic"), letter(4, minutes=-60)]

    assert listing(letters, {"coinbase.dlq/0/1"}) == [
        "coinbase: 3 since 2026-11-20T11:00Z, last 2026-11-20T12:05Z, 1 replayed: truncated",
        "bybit: 1 since 2026-11-20T12:00Z, last 2026-11-20T12:00Z: no topic",
    ]


def test_a_replays_log_adds_up_and_an_earlier_try_of_the_run_counts_to_it():
    def told(message: str, *hours: str, reason: str = "", at: str = "") -> dict:
        return {"message": message, "letter": "coinbase.dlq/0/1", "hours": hours, "reason": reason, "at": at}

    outcome = Outcome(since=NOON)
    for line in (
        told("replayed", "2026-11-20T09"),
        told("replayed before", "2026-11-20T10", at="2026-11-20T12:00:01.000000Z"),
        told("replayed before", "2026-11-19T10", at="2026-11-20T11:00:00.000000Z"),
        told("stays", reason="truncated"),
        {"message": "Kafka's client is in trouble"},
    ):
        outcome.note(line)

    assert outcome.fates == {"replayed": 1, "replayed before": 2, "stays": 1}
    assert outcome.reasons == {"truncated": 1}
    assert outcome.hours == {"2026-11-20T09", "2026-11-20T10"}


def test_a_note_that_is_too_long_is_cut_between_two_lines_and_says_so():
    lines = [f"line {number:03d}" for number in range(300)]

    note = cut(lines)

    assert len(note) <= NOTE_LENGTH
    assert note.splitlines()[-1] == "… more in the log"
    assert note.splitlines()[:-1] == lines[: len(note.splitlines()) - 1]
    assert cut(["one", "two"]) == "one\ntwo"


def test_the_form_offers_every_venue():
    assert venues()[:3] == ["any", "coinbase", "bybit"]

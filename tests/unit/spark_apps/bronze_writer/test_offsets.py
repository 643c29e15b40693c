import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException

from include.settings import Settings
from spark_apps.bronze_writer import offsets
from spark_apps.bronze_writer.checkpoints import Checkpoint
from spark_apps.bronze_writer.offsets import (
    EARLIEST,
    GroupOffsets,
    after_rows,
    has_begun,
    is_before,
    is_torn,
    known,
    of_checkpoint,
    since,
)

pytestmark = pytest.mark.unit

BATCH = 'v1\n{"batchWatermarkMs":0,"conf":{}}\n{"trades":{"0":%d,"1":7}}'


def on_disk(state: Path) -> Checkpoint:
    return Checkpoint.on_disk(Settings(state_dir=state), "trades")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "trades"


@pytest.fixture
def checkpoint(folder, tmp_path):
    """Make a checkpoint as Spark lays it out: batches planned, batches finished."""

    def make(planned, finished):
        for part, batches in (("offsets", planned), ("commits", finished)):
            (folder / part).mkdir(parents=True)
            for batch in batches:
                (folder / part / str(batch)).write_text(BATCH % (batch * 10))
                (folder / part / f".{batch}.crc").touch()
        return on_disk(tmp_path)

    return make


def test_a_batch_counts_once_it_is_finished_not_when_it_is_planned(checkpoint):
    assert of_checkpoint(checkpoint(planned=(8, 9, 10), finished=(8, 9))) == {"trades": {0: 90, 1: 7}}


def test_a_first_batch_that_was_cut_off_says_nothing_but_has_begun(checkpoint):
    cut_off = checkpoint(planned=(0,), finished=())

    assert of_checkpoint(cut_off) is None
    assert has_begun(cut_off)


def test_a_checkpoint_that_is_not_there_has_not_begun(tmp_path):
    assert not has_begun(on_disk(tmp_path / "lost"))


def test_a_checkpoint_is_torn_without_its_query_or_the_plan_of_its_newest_batch(checkpoint, folder):
    torn = checkpoint(planned=(8, 9, 10), finished=(8, 9))
    assert is_torn(torn)

    (folder / "metadata").touch()
    assert not is_torn(torn)

    (folder / "offsets" / "9").unlink()
    assert is_torn(torn)


def test_a_checkpoint_without_plans_is_torn_and_one_that_is_not_there_is_not(checkpoint, folder, tmp_path):
    without = checkpoint(planned=(), finished=())
    (folder / "metadata").touch()

    assert is_torn(without)
    assert not is_torn(on_disk(tmp_path / "lost"))


def test_a_first_batch_that_was_cut_off_leaves_a_whole_checkpoint(checkpoint, folder):
    cut_off = checkpoint(planned=(0,), finished=())
    (folder / "metadata").touch()

    assert not is_torn(cut_off)


def test_a_checkpoint_is_removed_with_all_that_is_in_it(checkpoint, folder):
    torn = checkpoint(planned=(8,), finished=(8,))

    torn.remove()

    assert not folder.exists()
    assert not torn.exists()


def test_the_place_of_checkpoints_is_chosen_and_the_other_one_is_known_too(tmp_path):
    keys = {"s3_access_key": "user", "s3_secret_key": "secret"}
    disk, store = (tmp_path / "checkpoints" / "trades").as_uri(), "s3a://lake/checkpoints/trades"
    for chosen, here, there in (("disk", disk, store), ("s3", store, disk)):
        settings = Settings(state_dir=tmp_path, checkpoints=chosen, **keys)
        assert Checkpoint.of(settings, "trades").location == here
        assert Checkpoint.left_by(settings, "trades").location == there


def test_without_a_checkpoint_a_partition_goes_on_after_its_highest_row_and_an_unseen_one_begins():
    assert after_rows([("trades", 0, 41), ("gone", 0, 5)], {"trades": 2}) == {"trades": {0: 42, 1: EARLIEST}}


def test_offsets_survive_the_way_through_sparks_json():
    there = {"trades": {0: 42, 1: EARLIEST}}

    assert offsets.from_json(offsets.to_json(there)) == there


class Broker:
    """Refuses as often as it is told to, then takes offsets and remembers them."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.told: list[dict[int, int]] = []
        self.was_told = threading.Event()

    def alter_consumer_group_offsets(self, requests, request_timeout):
        [request] = requests
        answer: Future[ConsumerGroupTopicPartitions] = Future()
        if self.refusals:
            self.refusals -= 1
            answer.set_exception(KafkaException(KafkaError(KafkaError._TRANSPORT)))
        else:
            self.told.append({p.partition: p.offset for p in request.topic_partitions})
            answer.set_result(request)
            self.was_told.set()
        return {request.group_id: answer}


def test_of_no_partition_nothing_is_told_and_of_others_everything_still_is():
    broker = Broker()
    groups = GroupOffsets(lambda: broker)

    groups.tell("bronze.dead_letters", {})
    groups.tell("bronze.dead_letters", {"coinbase.dlq": {}})
    groups.tell("bronze.trades", {"trades": {0: 42}})
    groups.close()

    assert broker.told == [{0: 42}]


def test_what_one_client_cannot_tell_is_told_by_the_next():
    lost, sound = Broker(refusals=1), Broker()
    clients = iter((lost, sound))
    groups = GroupOffsets(lambda: next(clients), retry_after=0.01)

    groups.tell("bronze.trades", {"trades": {0: 5}})

    assert sound.was_told.wait(5)
    groups.close()
    assert (lost.told, sound.told) == ([], [{0: 5}])


def test_what_the_broker_refuses_is_told_again():
    broker = Broker(refusals=2)
    groups = GroupOffsets(lambda: broker, retry_after=0.01)

    groups.tell("bronze.trades", {"trades": {0: 5}})

    assert broker.was_told.wait(5)
    groups.close()
    assert broker.told == [{0: 5}]


def test_closing_tells_what_is_untold():
    broker = Broker()
    groups = GroupOffsets(lambda: broker)

    groups.tell("bronze.trades", {"trades": {0: 5}})
    groups.close()

    assert broker.told[-1] == {0: 5}


def test_two_tellers_of_one_group_do_not_silence_each_other():
    broker = Broker(refusals=1)
    groups = GroupOffsets(lambda: broker, retry_after=0.01)

    groups.tell("bronze.dead_letters", {"trades": {0: 5}})
    groups.tell("bronze.dead_letters", {"dlq": {3: 7}})
    groups.tell("bronze.dead_letters", {"trades": {0: 6}})

    assert broker.was_told.wait(5)
    groups.close()
    assert {partition: offset for told in broker.told for partition, offset in told.items()} == {0: 6, 3: 7}


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (None, {"trades": {0: EARLIEST, 1: EARLIEST}}),
        ({"trades": {0: 3}}, {"trades": {0: 3, 1: EARLIEST}}),
        ({"trades": {0: 3, 1: 7}, "other": {0: 1}}, {"trades": {0: 3, 1: 7}}),
    ],
)
def test_a_partition_of_which_nothing_is_known_begins_at_its_beginning(start, expected):
    assert since(start, {"trades": {0: 5, 1: 7}}) == expected


def test_there_is_something_between_if_one_partition_has_it():
    end = {"trades": {0: 5, 1: 7}}

    assert not is_before({"trades": {0: 5, 1: 7}}, end)
    assert is_before({"trades": {0: 5, 1: 6}}, end)


def test_a_partition_that_has_no_rows_is_not_known():
    assert known({"trades": {0: 5, 1: EARLIEST}, "other": {0: EARLIEST}}) == {"trades": {0: 5}}

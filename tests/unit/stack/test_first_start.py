import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dotenv import dotenv_values

from stack import first_start

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 20, 12, 34, 56, tzinfo=UTC)


def test_secrets_are_made_once_for_their_owner_only(tmp_path: Path):
    assert first_start.ensure_secrets(tmp_path, {})
    made = first_start.read(tmp_path / "secrets.env")
    assert not first_start.ensure_secrets(tmp_path, {})

    assert first_start.read(tmp_path / "secrets.env") == made
    assert set(made) == set(first_start.new_secrets())
    assert stat.S_IMODE((tmp_path / "secrets.env").stat().st_mode) == 0o600
    assert first_start.is_private(tmp_path / "secrets.env")


def test_no_two_stacks_have_the_same_secrets():
    one, other = first_start.new_secrets(), first_start.new_secrets()

    assert not set(one.values()) & set(other.values())


def test_a_secret_that_the_environment_gives_is_taken(tmp_path: Path):
    first_start.ensure_secrets(tmp_path, {"LAKE_AIRFLOW_PASSWORD": "mine"})

    assert first_start.read(tmp_path / "secrets.env")["LAKE_AIRFLOW_PASSWORD"] == "mine"


def test_a_secret_that_others_can_read_is_noticed(tmp_path: Path):
    first_start.ensure_secrets(tmp_path, {})
    (tmp_path / "secrets.env").chmod(0o644)

    assert not first_start.is_private(tmp_path / "secrets.env")


def test_the_first_hour_lies_whole_hours_before_the_running_one():
    assert first_start.chosen_hour(NOW, 3) == datetime(2026, 11, 20, 9, tzinfo=UTC)


@pytest.mark.parametrize(("first", "hours"), [(9, 3), (12, 0), (15, 0)])
def test_only_hours_that_are_over_count_as_full(first: int, hours: int):
    assert first_start.full_hours(datetime(2026, 11, 20, first, tzinfo=UTC), NOW) == hours


def test_choices_are_what_the_environment_says_of_this_lake():
    environment = {
        "LAKE_KAFKA__PORT": "19092",
        "LAKE_STATE_DIR": "/elsewhere",
        "LAKE_S3_SECRET_KEY": "hidden",
        "HOME": "/home",
    }

    assert first_start.choices_in(environment) == {"LAKE_KAFKA__PORT": "19092"}


def test_a_choice_made_again_replaces_the_one_before_and_leaves_the_others(tmp_path: Path):
    first_start.keep_choices(tmp_path, {"LAKE_A": "1", "LAKE_B": "2"})
    first_start.keep_choices(tmp_path, {"LAKE_A": "3"})

    assert first_start.read(tmp_path / "settings.env") == {"LAKE_A": "3", "LAKE_B": "2"}


@pytest.mark.parametrize("value", ["plain", "with space", 'a "quoted" word', "back\\slash", "a#b", "", "'"])
def test_a_value_is_read_as_it_was_written_by_us_and_by_the_settings(tmp_path: Path, value: str):
    first_start.write(tmp_path / "settings.env", {"LAKE_X": value})

    assert first_start.read(tmp_path / "settings.env") == {"LAKE_X": value}
    assert dotenv_values(tmp_path / "settings.env") == {"LAKE_X": value}


def test_the_digest_changes_with_the_choices_only(tmp_path: Path):
    first_start.keep_choices(tmp_path, {"LAKE_A": "1"})
    before = first_start.digest(tmp_path)
    first_start.ensure_secrets(tmp_path, {})
    same = first_start.digest(tmp_path)
    first_start.keep_choices(tmp_path, {"LAKE_A": "2"})

    assert before == same != first_start.digest(tmp_path)

import threading
from pathlib import Path

import pytest

from include.orchestration.fencing import Charge, Fence, FencedOffError, OwnedElsewhereError

pytestmark = pytest.mark.unit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases" / "ingestion.json"


def test_the_first_to_ask_is_in_charge_and_stays_so(path: Path):
    first = Fence(path).take("one", has_ended=lambda _: False)

    assert first == Fence(path).take("one", has_ended=lambda _: False) == Charge("one", 1)


def test_nobody_takes_over_from_an_owner_that_has_not_ended(path: Path):
    Fence(path).take("one", has_ended=lambda _: False)

    with pytest.raises(OwnedElsewhereError, match="one is in charge"):
        Fence(path).take("two", has_ended=lambda _: False)


def test_an_owner_that_was_taken_for_dead_acts_no_more(path: Path):
    fence = Fence(path)
    stale = fence.take("one", has_ended=lambda _: False)
    fresh = fence.take("two", has_ended=lambda owner: owner == "one")

    with pytest.raises(FencedOffError, match="one"), fence.acting(stale):
        pytest.fail("a stale owner acted")
    with fence.acting(fresh):
        pass


def test_an_owner_that_comes_back_is_not_its_earlier_self(path: Path):
    fence = Fence(path)
    stale = fence.take("one", has_ended=lambda _: True)
    fence.take("two", has_ended=lambda _: True)
    again = fence.take("one", has_ended=lambda _: True)

    assert again.number > stale.number
    with pytest.raises(FencedOffError), fence.acting(stale):
        pytest.fail("a stale owner acted")


def test_nobody_takes_over_while_the_owner_acts(path: Path):
    charge = Fence(path).take("one", has_ended=lambda _: True)
    order: list[str] = []
    began = threading.Event()

    def overtake() -> None:
        began.set()
        Fence(path).take("two", has_ended=lambda _: True)
        order.append("taken over")

    with Fence(path).acting(charge):
        other = threading.Thread(target=overtake)
        other.start()
        began.wait()
        order.append("acted")
    other.join()

    assert order == ["acted", "taken over"]


@pytest.mark.parametrize("left", ["", '{"owner": "on', "[]"])
def test_a_file_whose_writer_died_in_the_write_is_nobodys(path: Path, left: str):
    path.parent.mkdir()
    path.write_text(left)

    assert Fence(path).take("one", has_ended=lambda _: False) == Charge("one", 1)

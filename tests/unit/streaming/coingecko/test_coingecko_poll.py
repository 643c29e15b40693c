import asyncio
import json
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import generate_latest

from include.settings import Settings
from streaming.backoff import Backoff
from streaming.coingecko import kept, poll
from streaming.coingecko.budget import Limits, Spent
from streaming.coingecko.kept import Kept
from streaming.coingecko.poll import Poller
from streaming.coingecko.rest import Markets, credentials
from streaming.failures import RefusalError
from streaming.metrics import Metrics
from streaming.session import open_session
from tests.unit.streaming.conftest import Acknowledging

pytestmark = pytest.mark.unit

PRICES, LETTERS = "coingecko.raw.prices", "coingecko.dlq"
AMPLE = Limits(timedelta(0), 10**9, 10**12)
BITCOIN = '{"id":"bitcoin","current_price":49053,"last_updated":"2021-05-15T15:59:43.867Z"}'
DEARER = BITCOIN.replace("49053", "49054.10")
SHIBA = '{"id":"shiba-inu","current_price":9.76e-06,"last_updated":null}'


def reply(*elements: str, etag: str | None = None) -> web.Response:
    return web.Response(text=f"[{','.join(elements)}]", headers={"Etag": etag} if etag else {})


class Scene:
    """A poller whose venue gives these answers one after another; then it is told to stop."""

    def __init__(self, folder: Path, *answers: web.Response, coins=("bitcoin",), limits=AMPLE, clock=None) -> None:
        self.file = folder / "producer-coingecko" / "live.json"
        self.kafka, self.metrics, self.stop = Acknowledging(), Metrics("coingecko"), asyncio.Event()
        self.asked: list[tuple[str, str | None]] = []
        self.calls_counted: list[int] = []
        self._answers, self._coins, self._limits = list(answers), coins, limits
        self._clock = clock or (lambda: datetime.now(UTC))

    async def _give(self, request: web.Request) -> web.Response:
        self.asked.append((request.path_qs, request.headers.get("If-None-Match")))
        self.calls_counted.append(kept.load(self.file).spent.requests)
        answer = self._answers.pop(0)
        if not self._answers:
            self.stop.set()
        return answer

    async def play(self) -> "Scene":
        async with self.poller() as poller:
            await poller.run()
            poller.keep()
        return self

    @asynccontextmanager
    async def poller(self):
        app = web.Application()
        app.router.add_get("/api/v3/coins/markets", self._give)
        async with (
            TestServer(app) as server,
            open_session(str(server.make_url("/api/v3")), is_remote=False, seconds=0.5) as session,
        ):
            yield Poller(
                Markets(session, self._coins), self._coins, self._limits, self.file, self.kafka, self.metrics,
                self.stop, clock=self._clock, pauses=Backoff(0.001, 0.001),
            )  # fmt: skip

    @property
    def due(self) -> float:
        """When the next request is due, as Prometheus is told."""
        return self.metrics.next_request.labels("coingecko")._value.get()

    def told(self, line: str) -> bool:
        return line in generate_latest(self.metrics.registry).decode().splitlines()


@pytest.fixture(autouse=True)
def impatience(monkeypatch):
    """Let a venue alone for a moment where it would be minutes."""
    monkeypatch.setattr(poll, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(poll, "REFUSED_SECONDS", 0.01)


async def test_each_coin_is_a_record_of_its_own_bytes_with_its_place_in_the_reply(tmp_path):
    scene = await Scene(tmp_path, reply(BITCOIN, SHIBA), coins=("bitcoin", "shiba-inu")).play()

    bitcoin, shiba = scene.kafka.records
    assert (bitcoin.topic, bitcoin.key, bitcoin.value) == (PRICES, "bitcoin", BITCOIN.encode())
    assert (shiba.topic, shiba.key, shiba.value) == (PRICES, "shiba-inu", SHIBA.encode())
    headers = dict(shiba.headers)
    assert abs(int(headers.pop("received_at")) / 1e6 - datetime.now(UTC).timestamp()) < 60
    assert headers == {"frame_index": b"1"}


async def test_all_coins_are_asked_for_in_one_request(tmp_path):
    scene = await Scene(tmp_path, reply(BITCOIN, SHIBA), coins=("bitcoin", "shiba-inu")).play()

    assert scene.asked == [("/api/v3/coins/markets?vs_currency=usd&ids=bitcoin,shiba-inu&per_page=250", None)]


async def test_of_a_reply_only_what_has_changed_is_written(tmp_path):
    replies = (reply(BITCOIN, SHIBA), reply(BITCOIN, SHIBA), reply(DEARER, SHIBA))
    scene = await Scene(tmp_path, *replies, coins=("bitcoin", "shiba-inu")).play()

    assert scene.kafka.values(PRICES) == [BITCOIN.encode(), SHIBA.encode(), DEARER.encode()]
    assert dict(scene.metrics.frames) == {"prices": 2, "unchanged": 1}


async def test_another_cache_that_is_behind_brings_nothing_back(tmp_path):
    scene = await Scene(tmp_path, reply(BITCOIN), reply(DEARER), reply(BITCOIN)).play()

    assert scene.kafka.values(PRICES) == [BITCOIN.encode(), DEARER.encode()]


async def test_the_venue_is_asked_for_what_has_changed_since_the_last_reply(tmp_path):
    same = web.Response(status=304)
    scene = await Scene(tmp_path, reply(BITCOIN, etag='W/"1"'), same, reply(DEARER, etag='W/"2"'), same).play()

    assert [etag for _, etag in scene.asked] == [None, 'W/"1"', 'W/"1"', 'W/"2"']
    assert scene.kafka.values(PRICES) == [BITCOIN.encode(), DEARER.encode()]
    assert scene.kafka.events() == []


async def test_after_a_restart_nothing_is_written_again_and_the_count_goes_on(tmp_path):
    first = await Scene(tmp_path, reply(BITCOIN), reply(DEARER)).play()
    second = await Scene(tmp_path, reply(BITCOIN), reply(DEARER), reply(BITCOIN.replace("49053", "1"))).play()

    assert (first.calls_counted, second.calls_counted) == ([1, 2], [3, 4, 5])
    assert second.kafka.values(PRICES) == [BITCOIN.replace("49053", "1").encode()]


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        (web.Response(status=429), "BusyError"),
        (web.Response(status=429, headers={"Retry-After": "0.02"}), "BusyError"),
        (web.Response(status=429, text='{"status":{"error_code":429,"error_message":"Rate Limit"}}'), "BusyError"),
        (web.Response(status=503, text="<html>"), "BusyError"),
        (web.Response(status=500), "ClientResponseError"),
        (web.Response(status=502), "ClientResponseError"),
        (web.Response(status=422, text='{"error":"Missing parameter ids"}'), "RefusedError"),
        (web.Response(status=401), "RefusedError"),
        (web.Response(status=403, text="error code: 1020"), "RefusedError"),
    ],
    ids=["429", "429 with Retry-After", "429 with words", "503", "500", "502", "422", "401", "403"],
)
async def test_a_venue_in_trouble_is_asked_again_and_every_request_counts(tmp_path, trouble, outcome):
    scene = await Scene(tmp_path, trouble, reply(BITCOIN)).play()

    assert scene.kafka.values(PRICES) == [BITCOIN.encode()]
    assert scene.kafka.values(LETTERS) == []
    assert scene.calls_counted == [1, 2]
    assert scene.told(f'ingestion_rest_requests_total{{outcome="{outcome}",venue="coingecko"}} 1.0')


async def test_a_venue_that_does_not_answer_in_time_is_asked_again(tmp_path):
    scene = Scene(tmp_path, reply(BITCOIN), reply(BITCOIN))
    given = scene._give
    released = asyncio.Event()

    async def late(request: web.Request) -> web.Response:
        answer = await given(request)
        if len(scene.asked) == 1:
            await released.wait()
        return answer

    scene._give = late
    async with scene.poller() as poller:
        await poller.run()
        released.set()

    assert len(scene.asked) == 2
    assert scene.kafka.values(PRICES) == [BITCOIN.encode()]
    assert scene.told('ingestion_connected{venue="coingecko"} 1.0')


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (web.Response(status=429), 60),
        (web.Response(status=429, headers={"Retry-After": "90"}), 90),
        (web.Response(status=429, headers={"Retry-After": "7200"}), 300),
        (web.Response(status=422), 300),
        (web.Response(status=500), 0.001),
    ],
    ids=["429", "429 with Retry-After", "429 with hours", "422", "500"],
)
async def test_a_venue_is_left_alone_for_as_long_as_it_wants(tmp_path, monkeypatch, answer, seconds):
    monkeypatch.setattr(poll, "BUSY_SECONDS", 60.0)
    monkeypatch.setattr(poll, "REFUSED_SECONDS", 300.0)
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    scene = Scene(tmp_path, answer, reply(BITCOIN), clock=lambda: noon)

    async with scene.poller() as poller:
        polling = asyncio.create_task(poller.run())
        async with asyncio.timeout(5):
            while scene.told('ingestion_connected{venue="coingecko"} 1.0') or len(scene.asked) < 1:
                await asyncio.sleep(0.001)
        scene.stop.set()
        await polling

    wait = scene.due - noon.timestamp()
    assert 0 <= wait <= seconds
    assert wait == seconds or seconds < 1


@pytest.mark.parametrize(
    ("answer", "starts_at", "asks_at"),
    [
        (web.Response(status=429, headers={"Retry-After": "90"}), 10, 90),
        (web.Response(status=429, headers={"Retry-After": "90"}), -3600, -3300),
        (web.Response(status=422), 10, 10),
    ],
    ids=["429", "429 and a clock set back", "422, which somebody may have mended"],
)
async def test_a_restart_is_no_way_round_a_hold(tmp_path, monkeypatch, answer, starts_at, asks_at):
    monkeypatch.setattr(poll, "REFUSED_SECONDS", 300.0)
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    first = Scene(tmp_path, answer, clock=lambda: noon)
    await first.play()
    second = Scene(tmp_path, clock=lambda: noon + timedelta(seconds=starts_at))
    second.stop.set()
    await second.play()

    assert second.due - noon.timestamp() == asks_at


async def test_a_refusal_is_told_once_in_the_venues_words_until_it_answers_again(tmp_path):
    refused = web.Response(status=422, text='{"error":"Missing parameter ids"}')
    copies = [web.Response(status=422, text=refused.text) for _ in range(3)]
    scene = await Scene(tmp_path, *copies[:2], reply(BITCOIN), copies[2], reply(BITCOIN)).play()

    assert [(event["kind"], event["reason"]) for event in scene.kafka.events()] == [
        ("subscription_refused", "422: Missing parameter ids")
    ] * 2


async def test_a_coin_that_the_venue_leaves_out_is_told_once(tmp_path):
    replies = [reply(BITCOIN), reply(DEARER)]
    scene = await Scene(tmp_path, *replies, coins=("bitcoin", "bitcoim")).play()

    [event] = scene.kafka.events()
    assert (event["kind"], event["market"], event["product_id"]) == ("subscription_refused", "usd", "bitcoim")
    assert scene.told('ingestion_refused_products_total{venue="coingecko"} 1.0')


@pytest.mark.parametrize("body", ["[{", "<html>", '{"prices":[]}', ""])
async def test_a_reply_that_cannot_be_read_is_a_dead_letter_with_the_reason_and_its_bytes(tmp_path, body):
    scene = await Scene(tmp_path, web.Response(text=body), reply(BITCOIN)).play()

    letter, price = scene.kafka.records
    assert (letter.topic, letter.key, letter.value) == (LETTERS, "coingecko", body.encode())
    assert dict(letter.headers)["reason"].startswith(b"reply of prices: ")
    assert price.value == BITCOIN.encode()
    assert scene.kafka.events() == []


async def test_a_reply_that_cannot_be_read_is_written_once_though_the_cache_gives_it_again(tmp_path):
    scene = await Scene(tmp_path, *(web.Response(text="[{") for _ in range(3))).play()

    assert scene.kafka.values(LETTERS) == [b"[{"]


async def test_a_coin_that_cannot_be_read_does_not_take_its_neighbours_along(tmp_path):
    broken = BITCOIN.replace("49053", '"49053"')
    scene = await Scene(tmp_path, reply(broken, SHIBA), coins=("bitcoin", "shiba-inu")).play()

    assert scene.kafka.values(LETTERS) == [broken.encode()]
    assert scene.kafka.values(PRICES) == [SHIBA.encode()]
    assert scene.kafka.events() == [], "the coin was not left out"


async def test_a_coin_that_was_not_asked_for_is_a_dead_letter(tmp_path):
    scene = await Scene(tmp_path, reply(BITCOIN, SHIBA)).play()

    assert scene.kafka.values(LETTERS) == [SHIBA.encode()]
    assert dict(scene.kafka.records[1].headers)["reason"] == b"shiba-inu was not asked for"


async def test_a_month_that_is_spent_is_waited_for_and_the_stop_is_heard_meanwhile(tmp_path):
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    scene = Scene(tmp_path, limits=Limits(timedelta(0), 30, 100), clock=lambda: noon)
    kept.save(scene.file, Kept(Spent(noon.replace(day=1, hour=0), 100, noon)))

    async with scene.poller() as poller:
        polling = asyncio.create_task(poller.run())
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(polling), 0.05)
        assert not polling.done()
        scene.stop.set()
        await polling

    assert scene.asked == []
    december = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert scene.due == december
    assert scene.metrics.requests_left.labels("coingecko")._value.get() == 0


async def test_a_machine_that_was_asleep_when_the_month_began_does_not_sleep_on(tmp_path, monkeypatch):
    monkeypatch.setattr(poll, "LONGEST_SLEEP_SECONDS", 0.01)
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    limits = Limits(timedelta(0), 30, 100)
    scene = Scene(tmp_path, reply(BITCOIN), limits=limits, clock=lambda: now)
    kept.save(scene.file, Kept(Spent(now.replace(day=1, hour=0), 100, now)))

    async with scene.poller() as poller:
        polling = asyncio.create_task(poller.run())
        await asyncio.sleep(0.05)
        assert scene.asked == []
        now = datetime(2026, 12, 1, tzinfo=UTC)
        await asyncio.wait_for(polling, 5)

    assert scene.kafka.values(PRICES) == [BITCOIN.encode()]
    assert kept.load(scene.file).spent == Spent(now, 1, now)


async def test_a_count_that_cannot_be_read_stops_the_producer_with_what_to_do(tmp_path):
    scene = Scene(tmp_path)
    scene.file.parent.mkdir()
    scene.file.write_text('{"spent":')

    with pytest.raises(RefusalError, match=r"live\.json cannot be read .*: delete it"):
        async with scene.poller():
            pass


@pytest.mark.parametrize(
    ("exchange", "key", "header"),
    [("live", "secret", {"x-cg-demo-api-key": "secret"}), ("live", None, {}), ("replica", "secret", {})],
)
def test_only_the_venue_itself_is_told_the_key(exchange, key, header):
    assert credentials(Settings(exchange=exchange, coingecko_api_key=key)) == header


def test_what_is_kept_is_read_as_it_was_written_and_nothing_lies_beside_it(tmp_path):
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    content = Kept(Spent(noon.replace(day=1, hour=0), 7, noon), {"prices bitcoin": ["ab"]})
    file = tmp_path / "producer-coingecko" / "live.json"

    kept.save(file, content)

    assert kept.load(file) == content
    assert list(file.parent.iterdir()) == [file]
    assert json.loads(file.read_bytes())["spent"]["requests"] == 7

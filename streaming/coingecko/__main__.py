"""The producer of CoinGecko: `python -m streaming.coingecko`."""

from __future__ import annotations

from include.contracts import topics
from include.settings import Settings
from streaming.coingecko.budget import Limits
from streaming.coingecko.kept import file_of
from streaming.coingecko.poll import Poller
from streaming.coingecko.rest import ORIGIN, Markets, credentials
from streaming.failures import RefusalError
from streaming.service import DRAIN_SECONDS, run, service
from streaming.session import open_session

TOPICS = (topics.COINGECKO_PRICES, topics.COINGECKO_DEAD_LETTERS, topics.EVENTS)
ANSWER_SECONDS = 10.0
"""How long a request may take: a stop waits for its end, and has 14 s in all."""


async def produce(settings: Settings) -> None:
    """Ask for prices until told to stop.

    Raises:
        RefusalError: If it cannot begin.
    """
    if not settings.coingecko_coins:
        raise RefusalError("there is no coin to ask for: set LAKE_COINGECKO_COINS, for example to bitcoin,ethereum")
    limits = Limits(
        settings.coingecko_interval, settings.coingecko_requests_per_minute, settings.coingecko_requests_per_month
    )
    file = file_of(settings)
    is_remote = settings.exchange == "live"
    headers = credentials(settings)
    async with (
        service(settings, ORIGIN.venue, TOPICS, "coingecko_metrics") as running,
        open_session(settings.coingecko_rest, is_remote=is_remote, seconds=ANSWER_SECONDS, headers=headers) as session,
    ):
        delivery, coins = running.delivery, settings.coingecko_coins
        poller = Poller(Markets(session, coins), coins, limits, file, delivery, running.metrics, running.stop)
        running.stop_on_signals()
        await poller.run()
        await delivery.drain(DRAIN_SECONDS)
        poller.keep()


if __name__ == "__main__":
    run(produce)

"""Everything that differs between machines, in one frozen object.

Read once at each entry point with `load()` and passed down. First found wins: the environment (`LAKE_…`), the choices
that the stack keeps in its state folder (`settings.env`, `secrets.env`), the default.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parent.parent


class Endpoint(BaseModel):
    """Where a service listens, and where its clients find it."""

    model_config = ConfigDict(frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)

    @property
    def address(self) -> str:
        """`host:port`, as Kafka's clients want it."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The root of the service over HTTP, without a slash at the end."""
        return f"http://{self.address}"


class Heaps(BaseModel):
    """How much each Java process keeps at most, as Java writes it. Its memory is that and some 200 MB more."""

    model_config = ConfigDict(frozen=True)

    kafka: str = "320m"
    s3: str = "192m"
    nessie: str = "256m"
    thrift: str = "896m"
    bronze: str = "640m"
    job: str = "768m"
    """The hour's job and the other tasks of Airflow that run on Spark, where the connection sends them to."""
    executor: str = "768m"
    """An executor of such a job, where it runs on a cluster."""
    trino: str = "1500m"


def _at(port: int) -> Endpoint:
    """Give a service its default address on this machine."""
    return Endpoint(port=port)


class Settings(BaseSettings):
    """The settings of one stack; `LAKE_KAFKA__PORT=19092` sets `kafka.port`."""

    model_config = SettingsConfigDict(env_prefix="LAKE_", env_nested_delimiter="__", frozen=True, extra="ignore")

    # Folders
    state_dir: Path = CHECKOUT / ".lake" / "state"
    """All that one stack writes: data, logs, checkpoints, secrets. Two stacks have two of them."""
    tools_dir: Path = CHECKOUT / ".lake" / "tools"
    """What is downloaded once and shared by all stacks of a checkout: Python environment, Java runtimes, jars."""

    # What runs
    profile: Literal["minimal", "standard"] = "minimal"
    exchange: Literal["replica", "live"] = "live"
    """`replica` is the stand-in on this machine that plays a recording; `live` is the exchange itself."""
    recording: Path | None = None
    """What the replica plays: a file or folder of frames. None: the recording that comes with the project."""
    replica_shift_hours: int | None = None
    """By how many whole hours the recording is moved; chosen at the first start and kept, so an id keeps its time."""
    replica_speed: float = Field(default=1.0, gt=0)
    """How many seconds pass on the replica's exchange in a real one."""
    first_hour: datetime | None = None
    """The first hour (UTC, its start) that this lake holds; chosen at the first start and kept."""

    # Services
    kafka: Endpoint = _at(9092)
    kafka_controller: Endpoint = _at(9093)
    s3: Endpoint = _at(8333)
    nessie: Endpoint = _at(19120)
    nessie_management: Endpoint = _at(19121)
    postgres: Endpoint = _at(15432)
    thrift: Endpoint = _at(10000)
    spark_ui: Endpoint = _at(8090)
    airflow: Endpoint = _at(8081)
    replica: Endpoint = _at(8765)
    producer_metrics: Endpoint = _at(9400)
    bybit_metrics: Endpoint = _at(9401)
    coingecko_metrics: Endpoint = _at(9402)
    bronze_metrics: Endpoint = _at(9410)
    metrics: Endpoint = _at(9411)
    kafka_jmx: Endpoint = _at(9420)
    s3_jmx: Endpoint = _at(9421)
    thrift_jmx: Endpoint = _at(9422)
    bronze_jmx: Endpoint = _at(9423)
    trino_jmx: Endpoint = _at(9424)
    trino: Endpoint = _at(8082)
    prometheus: Endpoint = _at(9090)

    listen_host: str | None = None
    """Where each service listens, if it has a machine or a container of its own; None: where its clients find it."""
    supervisor: Endpoint | None = None
    """Where supervisord's interface is asked over the network, with a password; None: a socket in the state folder."""
    alertmanager: Endpoint | None = None
    """Who gets Prometheus' alerts and tells the service `metrics` of them; None: `metrics` gets them itself."""
    airflow_page: str | None = None
    """The address of Airflow's pages as people open them, where that is another than `airflow`."""

    s3_server: Endpoint | None = None
    """Where the S3 store listens, if its clients reach it through something else at `s3`; None: at `s3` itself."""
    nessie_server: Endpoint | None = None
    """The same for Nessie."""

    heaps: Heaps = Heaps()
    trino_query_memory: str = "600MB"
    """How much memory one query of Trino may take, of its heap."""
    spark_master: str = "local[2]"
    """What the connection `spark_default` says, which decides where Airflow's Spark jobs run.

    Two cores: the hour's job runs beside the stream and the Thrift server, which have one core each.
    """

    spark_worker_cores: int = Field(default=2, ge=1)
    """What a worker of a cluster of ours offers; natively there is none."""
    spark_worker_memory: str = "2g"

    # The lake
    bucket: str = "lake"
    catalog: str = "lake"
    branch: str = "main"
    """The Nessie branch that readers see."""

    # Ingestion
    products: Annotated[tuple[str, ...], NoDecode] = ("BTC-USD", "ETH-USD", "SOL-USD", "DOGE-USD")
    """Coinbase products; in the environment a comma-separated list."""
    history_hours: int = Field(default=3, ge=0, le=24 * 30)
    """Hours of history fetched from REST when a product is seen for the first time."""
    coinbase_live_ws: str = "wss://ws-feed.exchange.coinbase.com"
    coinbase_live_rest: str = "https://api.exchange.coinbase.com"
    kafka_patience: timedelta = Field(default=timedelta(minutes=1), ge=timedelta(seconds=1))
    """How long Kafka may take to acknowledge a record of a producer until that is logged; the record waits on."""

    follow_bybit: bool = False
    """Whether Bybit is followed too."""
    bybit_linear: Annotated[tuple[str, ...], NoDecode] = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    """Symbols of Bybit's linear contracts; in the environment a comma-separated list."""
    bybit_spot: Annotated[tuple[str, ...], NoDecode] = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    bybit_live_ws: str = "wss://stream.bybit.com/v5/public"
    """The root of Bybit's public feeds, of which each market has one."""
    bybit_live_rest: str = "https://api.bybit.com"

    follow_coingecko: bool = False
    """Whether CoinGecko is asked for prices too."""
    coingecko_coins: Annotated[tuple[str, ...], NoDecode, Field(max_length=250)] = (
        "bitcoin", "ethereum", "solana", "dogecoin", "ripple", "cardano", "avalanche-2", "polkadot", "chainlink",
        "litecoin",
    )  # fmt: skip
    """Coins as CoinGecko names them, as many as one reply can hold; in the environment a comma-separated list."""
    coingecko_interval: timedelta = Field(default=timedelta(seconds=12), ge=timedelta(seconds=1))
    """Time between two requests, if the two limits below allow it."""
    coingecko_requests_per_minute: int = Field(default=30, ge=1)
    coingecko_requests_per_month: int = Field(default=10_000, ge=1)
    """Spread over what is left of the calendar month, UTC: 10,000, the free plan, is one in four and a half minutes."""
    coingecko_live_rest: str = "https://api.coingecko.com/api/v3"
    coingecko_api_key: SecretStr | None = None
    """The key of CoinGecko's free plan; without one, the address that asks is limited together with its neighbours."""

    # Supervision
    supervision_round: timedelta = timedelta(minutes=10)
    """How long one run of the supervisor watches the ingestion before the next one reports."""
    stall_limit: timedelta = timedelta(seconds=90)
    """How long a service of the ingestion may stand still, with work before it, until it is restarted."""
    start_patience: timedelta = timedelta(minutes=3)
    """How long a service that was just started is left alone: on a busy machine Spark's first batch takes a minute."""

    # The hour
    late_after: timedelta = timedelta(minutes=5)
    """A trade of the live feed that arrives later than this after its exchange time is marked late."""
    late_grace: timedelta = timedelta(hours=48)
    """How long after its end an hour is rebuilt by itself if trades of it come late; of older ones an alert tells."""
    silence_limit: timedelta = timedelta(minutes=10)
    """How long an hour waits for a silent product before it is let through as `gap`, with an alert."""
    bronze_interval: timedelta = timedelta(seconds=10)
    """Time between two commits to Bronze of what hours wait for."""
    bronze_quiet_interval: timedelta = timedelta(minutes=1)
    """Time between two commits of the rest: tickers, the exchange's status."""
    checkpoints: Literal["disk", "s3"] = "disk"
    """Where the Bronze writer's queries keep how far they are: in the state folder, or in the bucket beside the tables.

    After a change they begin anew after the rows of their tables, and what is in the other place is removed.
    """

    failed_branches_kept: timedelta = timedelta(days=14)
    """How long the branch of an attempt that was not published stays for inspection."""

    development_branches_kept: timedelta = timedelta(days=14)
    """How long a person's branch stays after the last commit to it."""

    # Airflow's own past
    airflow_past_kept: timedelta = Field(default=timedelta(days=30), ge=timedelta(days=1))
    """How long Airflow keeps runs, their tasks and logs; what was published stays known for ever."""

    # Upkeep
    bronze_kept: timedelta | None = Field(default=None, ge=timedelta(hours=24))
    """How long rows stay in Bronze until their day goes to the archive; None: as the contracts say, 30 days.

    An hour whose rows have gone stays as it was published, even if trades of it come late.
    """
    time_travel: timedelta = Field(default=timedelta(days=7), ge=timedelta(hours=1))
    """How far back the branch that readers see can be read as it was, Silver and Gold; of Bronze it is 2 hours."""
    unreachable_kept: timedelta = Field(default=timedelta(days=3), ge=timedelta(days=1))
    """How old a file must be to be deleted when nothing reaches it: what is being written is not reached yet."""
    day_tags_kept: timedelta = timedelta(days=14)
    """How long after its end a day has a tag; with it the files stay that the day was read from."""

    # Alerts
    alert_urls: Annotated[tuple[str, ...], NoDecode] = ()
    """Apprise URLs, in the environment a comma-separated list. Alerts always go to the log and to `alerts.ndjson`."""

    # Secrets: made at the first start into `secrets.env`, readable by the owner only. They have no default.
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    postgres_password: SecretStr | None = None
    airflow_password: SecretStr | None = None
    airflow_jwt_secret: SecretStr | None = None
    airflow_fernet_key: SecretStr | None = None
    supervisor_password: SecretStr | None = None

    @field_validator("products", "bybit_linear", "bybit_spot", "coingecko_coins", "alert_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("first_hour")
    @classmethod
    def _utc_hour(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        hour = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        if hour != hour.replace(minute=0, second=0, microsecond=0):
            raise ValueError(f"first_hour must be the start of an hour, not {value}")
        return hour

    @classmethod
    def load(cls) -> Self:
        """Read the settings from the environment and from what the stack keeps in its state folder."""
        state = Path(os.environ.get("LAKE_STATE_DIR", str(CHECKOUT / ".lake" / "state")))
        return cls(_env_file=(state / "settings.env", state / "secrets.env"))

    def listening(self, endpoint: Endpoint) -> Endpoint:
        """Say where a service listens whose clients find it at an endpoint."""
        return Endpoint(host=self.listen_host, port=endpoint.port) if self.listen_host else endpoint

    @property
    def airflow_pages(self) -> str:
        """The root of Airflow's pages, as people open them."""
        return self.airflow_page or self.airflow.url

    @property
    def warehouse(self) -> str:
        """The root of all tables on the S3 store."""
        return f"s3://{self.bucket}/warehouse"

    @property
    def nessie_api(self) -> str:
        """Nessie's own API, version 2: branches, merges, the native Iceberg catalog."""
        return f"{self.nessie.url}/api/v2"

    def nessie_iceberg(self, ref: str) -> str:
        """Nessie's Iceberg REST endpoint for one branch, tag or `branch@hash`: for readers only."""
        return f"{self.nessie.url}/iceberg/{ref}"

    @property
    def coinbase_ws(self) -> str:
        """The WebSocket feed that the Coinbase producer follows."""
        if self.exchange == "replica":
            return f"ws://{self.replica.address}/coinbase/ws"
        return self.coinbase_live_ws

    @property
    def coinbase_rest(self) -> str:
        """The root of the REST API that fills gaps and history."""
        if self.exchange == "replica":
            return f"{self.replica.url}/coinbase"
        return self.coinbase_live_rest

    @property
    def bybit_ws(self) -> dict[str, str]:
        """The WebSocket feed of each of Bybit's markets that has symbols to follow."""
        is_played = self.exchange == "replica"
        root = f"ws://{self.replica.address}/bybit/v5/public" if is_played else self.bybit_live_ws
        return {market: f"{root}/{market}" for market in self.bybit_symbols}

    @property
    def bybit_rest(self) -> str:
        """The root of the REST API that gives Bybit's newest trades."""
        return f"{self.replica.url}/bybit" if self.exchange == "replica" else self.bybit_live_rest

    @property
    def bybit_symbols(self) -> dict[str, tuple[str, ...]]:
        """The symbols to follow by market; no market without any."""
        symbols = {"linear": self.bybit_linear, "spot": self.bybit_spot}
        return {market: chosen for market, chosen in symbols.items() if chosen}

    @property
    def coingecko_rest(self) -> str:
        """The root of CoinGecko's REST API."""
        if self.exchange == "replica":
            return f"{self.replica.url}/coingecko/api/v3"
        return self.coingecko_live_rest

    @property
    def followed(self) -> tuple[tuple[str, str, str], ...]:
        """Venue, market and product of all whose trades are to be followed."""
        coinbase = tuple(("coinbase", "spot", product) for product in self.products)
        if not self.follow_bybit:
            return coinbase
        markets = self.bybit_symbols.items()
        return coinbase + tuple(("bybit", market, symbol) for market, symbols in markets for symbol in symbols)

    @property
    def alerts_file(self) -> Path:
        """Where every alert is appended, one JSON object a line."""
        return self.state_dir / "alerts.ndjson"

    @property
    def data_docs_dir(self) -> Path:
        """Where the gates write what they found, as pages: `<hour>/<layer>`."""
        return self.state_dir / "data_docs"

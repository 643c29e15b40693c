"""What CoinGecko answers, as it is on the wire. Fields that we do not name are not looked at.

Numbers are JSON numbers: `49053` and `49053.1` for the same field, `6.3363e-07` for a small one, null for one that is
not known.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

Number = int | float | None | UnsetType


class WireCoin(msgspec.Struct, frozen=True):
    """One coin of `GET /coins/markets`; it does not say the currency, which is in the request."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    current_price: Number = UNSET
    market_cap: Number = UNSET
    total_volume: Number = UNSET
    last_updated: Annotated[datetime, msgspec.Meta(tz=True)] | UnsetType | None = UNSET


class Status(msgspec.Struct, frozen=True):
    """Why a request is refused, as the limits and the keys say it."""

    error_message: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """The body of a refusal; either field says why."""

    error: str = ""
    status: Status = Status()

"""The ways to misbehave that can be asked for, as JSON says them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
FeedName = Literal["coinbase", "bybit/linear", "bybit/spot"]
Chance = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Fault(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"
):
    """A way to misbehave. It strikes at trades about to be sent, or at REST requests.

    Args:
        product: Only at this product; None means any.
        chance: How likely it is at each trade or request.
        count: How many trades or requests in a row it takes when it strikes.
        times: How often it strikes; None means until the faults are cleared.
        after: Seconds of exchange time before it may strike.
    """

    product: str | None = None
    chance: Chance = 1.0
    count: Count = 1
    times: Count | None = 1
    after: Seconds = 0.0


class OfFeed(Fault, frozen=True, kw_only=True):
    """A way to misbehave on a feed. Products are named as it names them; fields so, too, or at Bybit as our columns.

    Bybit's connections each play by themselves: there it strikes at one of them alone, the one that is about to send.

    Args:
        feed: Which one.
    """

    feed: FeedName = "coinbase"


class Drop(OfFeed, frozen=True, kw_only=True, tag="drop"):
    """Cut the connections without a word; the trade does not reach them."""


class Skip(OfFeed, frozen=True, kw_only=True, tag="skip"):
    """Leave trades out of the feed; REST still has them."""


class Repeat(OfFeed, frozen=True, kw_only=True, tag="repeat"):
    """Send a trade again, `copies` times."""

    copies: Count = 1


class Reorder(OfFeed, frozen=True, kw_only=True, tag="reorder"):
    """Send a group of `count` trades in reverse."""

    count: Count = 2


class Late(OfFeed, frozen=True, kw_only=True, tag="late"):
    """Send a trade `seconds` of exchange time after its turn; REST has it at once."""

    seconds: Seconds = 300.0


class Stale(OfFeed, frozen=True, kw_only=True, tag="stale"):
    """Before the trade, send again the last one that was made `seconds` before it, if there was one; Coinbase alone."""

    seconds: Seconds = 90_000.0


class Broken(OfFeed, frozen=True, kw_only=True, tag="broken"):
    """Send half of the trade's frame, before it or `instead` of it."""

    instead: bool = False


class NewField(OfFeed, frozen=True, kw_only=True, tag="new_field"):
    """Send the trade's frame with a field that no message had before."""

    field: str = "liquidity"


class ChangedType(OfFeed, frozen=True, kw_only=True, tag="changed_type"):
    """Send the trade's frame with a number in place of a text, or a text in place of a number."""

    field: str = "price"


class Unknown(OfFeed, frozen=True, kw_only=True, tag="unknown"):
    """Send a frame of a type that nobody knows before the trade."""


class Stall(OfFeed, frozen=True, kw_only=True, tag="stall"):
    """Leave the connections open and send nothing on them, not even pongs, for `seconds`; what they miss is lost."""

    seconds: Seconds = 30.0


class OfRequests(Fault, frozen=True, kw_only=True):
    """A way to misbehave at REST requests.

    Args:
        path: Only at requests whose path has this in it; None means any.
    """

    path: str | None = None


class TooMany(OfRequests, frozen=True, kw_only=True, tag="too_many_requests"):
    """Answer requests with 429, and say after how many seconds to ask again if `retry_after` is given."""

    retry_after: Count | None = None


class Failure(OfRequests, frozen=True, kw_only=True, tag="failure"):
    """Answer requests with an error of the server."""

    status: Annotated[int, msgspec.Meta(ge=500, le=599)] = 500


class Delay(OfRequests, frozen=True, kw_only=True, tag="delay"):
    """Let requests wait."""

    seconds: Seconds = 1.0
    times: Count | None = None


FeedFault = Drop | Skip | Repeat | Reorder | Late | Stale | Broken | NewField | ChangedType | Unknown | Stall
RestFault = TooMany | Failure | Delay


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Faults to arm, and the seed of their chances."""

    faults: tuple[FeedFault | RestFault, ...] = ()
    seed: int | None = None

"""How many requests each key may send: counted in this process, by the library `limits`."""

from __future__ import annotations

import math
import time
from functools import lru_cache
from typing import NamedTuple

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter


class Usage(NamedTuple):
    """What of a rate is used: `quota` requests in `window` seconds, of which so many remain for `reset` more."""

    is_within: bool
    quota: int
    window: int
    remaining: int
    reset: int


class Rates:
    """Counts requests by who asks, in windows that begin with the first of them."""

    def __init__(self, default: str) -> None:
        self._default = default
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def count(self, who: str, rate: str | None) -> Usage:
        """Count a request of `who`, by their own `rate` (`100/second`) or the default one."""
        item = _parsed(rate or self._default)
        is_within = self._limiter.hit(item, who)
        stats = self._limiter.get_window_stats(item, who)
        reset = max(1, math.ceil(stats.reset_time - time.time()))
        return Usage(is_within, item.amount, item.get_expiry(), stats.remaining, reset)


@lru_cache(maxsize=1024)
def _parsed(rate: str) -> RateLimitItem:
    return parse(rate)

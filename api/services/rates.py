"""How many requests each key may send: counted in this process, by the library `limits`."""

from __future__ import annotations

import math
import time
from functools import lru_cache
from typing import NamedTuple

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage


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
        self._storage = MemoryStorage()

    def count(self, who: str, rate: str | None) -> Usage:
        """Count a request of `who`, by their own `rate` (`100/second`) or the default one."""
        item = _parsed(rate or self._default)
        key = item.key_for(who)
        count = self._storage.incr(key, item.get_expiry())
        reset = max(1, math.ceil(self._storage.get_expiry(key) - time.time()))
        return Usage(count <= item.amount, item.amount, item.get_expiry(), max(0, item.amount - count), reset)


@lru_cache(maxsize=1024)
def _parsed(rate: str) -> RateLimitItem:
    return parse(rate)

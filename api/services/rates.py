"""How many requests each key may send, and each address without one: counted in this process, by `limits`."""

from __future__ import annotations

import math
import time
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal, NamedTuple

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage

Per = Literal["key", "address", "refusal"]
"""Whose rate it is; `refusal` is that of what is recorded of a key's refused acts."""
_NETWORK_BITS = 64


class Usage(NamedTuple):
    """What of a rate is used: `quota` requests in `window` seconds, of which so many remain for `reset` more."""

    per: Per
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

    def count(self, who: str, rate: str | None, *, per: Per = "key") -> Usage:
        """Count a request of `who`, by their own `rate` (`100/second`) or the default one."""
        item = _parsed(rate or self._default)
        key = item.key_for(per, who)
        count = self._storage.incr(key, item.get_expiry())
        reset = max(1, math.ceil(self._storage.get_expiry(key) - time.time()))
        return Usage(per, count <= item.amount, item.amount, item.get_expiry(), max(0, item.amount - count), reset)


@lru_cache(maxsize=1024)
def _parsed(rate: str) -> RateLimitItem:
    return parse(rate)


@lru_cache(maxsize=1024)
def address_of(host: str) -> str:
    """What one client is told by: its IPv4 address, or its IPv6 network, in which it may choose any address."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address.packed, _NETWORK_BITS), strict=False).network_address)

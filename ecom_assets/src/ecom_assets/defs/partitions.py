"""The partitions of everything that has a time axis, and the windows that a run's partition keys stand for.

The only meeting point of Dagster's partitions and `cartograph.windows`; what is done with a window stands elsewhere.
"""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.windows import Grain, Window, advance, at_midnight, floor

_CRON: dict[Grain, str] = {"daily": "0 0 * * *", "weekly": "0 0 * * 1", "monthly": "0 0 1 * *"}
_KEY_FORMAT = "%Y-%m-%d"


def window_partitions() -> dg.TimeWindowPartitionsDefinition:
    """One partition for each of the shop's windows at the configured grain; a key is `Window.key`.

    A shop with an end date has all its partitions whatever the clock says; one that goes on has those that have ended.
    """
    settings = get_settings()
    shop, grain = load_shop(settings), settings.partition_grain
    first = floor(at_midnight(shop.start), grain)
    if shop.end is None:
        return dg.TimeWindowPartitionsDefinition(start=first, fmt=_KEY_FORMAT, cron_schedule=_CRON[grain])
    whole = shop.windows(grain, at_midnight(shop.end))
    return dg.TimeWindowPartitionsDefinition(
        start=first,
        end=whole[-1].end,
        fmt=_KEY_FORMAT,
        cron_schedule=_CRON[grain],
        end_offset=len(whole),  # Dagster hides partitions that end after now, unless this many are allowed
    )


def window_of(key: str) -> Window:
    """The window whose partition key is `key`, at the configured grain."""
    start = datetime.strptime(key, _KEY_FORMAT).replace(tzinfo=UTC)
    return Window(start, advance(start, get_settings().partition_grain))


def windows_of(context: dg.AssetExecutionContext) -> list[Window]:
    """The consecutive windows of the partitions that `context`'s step materialises, oldest first."""
    return [window_of(key) for key in context.partition_keys]


def whole_window(context: dg.AssetExecutionContext) -> Window | None:
    """The one window that the consecutive partitions of `context`'s step make up; None in a run without partitions."""
    if not context.has_partition_key and not context.has_partition_key_range:
        return None
    windows = windows_of(context)
    return Window(windows[0].start, windows[-1].end)


def is_whole_history(context: dg.AssetExecutionContext) -> bool:
    """Whether `context`'s step materialises every partition that the shop has by now."""
    if not context.has_partition_key and not context.has_partition_key_range:
        return False
    partitions = window_partitions()
    ends = partitions.get_first_partition_key(), partitions.get_last_partition_key()
    return tuple(context.partition_key_range) == ends

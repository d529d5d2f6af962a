"""The as-of dates of the feature table as partitions, and how they hang on the partitions of the marts.

The only meeting point of Dagster's partitions and `cartograph.windows` in this location.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.windows import Grain, Window, advance, at_midnight, floor
from ml_assets.core.features import customers

_CRON: dict[Grain, str] = {"daily": "0 0 * * *", "weekly": "0 0 * * 1", "monthly": "0 0 1 * *"}
_KEY_FORMAT = "%Y-%m-%d"

WINDOW_BEFORE = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
"""As-of date D needs the marts' window that ends at D; the earlier windows come with the first load."""


def as_of_partitions() -> dg.TimeWindowPartitionsDefinition:
    """One partition for each as-of date: the ends of the shop's windows, the first and the last of them included.

    A shop with an end date has all of them whatever the clock says; one that goes on has those that have come.
    """
    settings = get_settings()
    shop, grain = load_shop(settings), settings.partition_grain
    first = advance(floor(at_midnight(shop.start), grain), grain)
    if shop.end is None:
        # A partition is shown when its window has ended; an as-of date has come when its window begins.
        return dg.TimeWindowPartitionsDefinition(start=first, fmt=_KEY_FORMAT, cron_schedule=_CRON[grain], end_offset=1)
    whole = shop.windows(grain, at_midnight(shop.end))
    return dg.TimeWindowPartitionsDefinition(
        start=first,
        end=advance(whole[-1].end, grain),
        fmt=_KEY_FORMAT,
        cron_schedule=_CRON[grain],
        end_offset=len(whole) + 1,
    )


def as_of_date(key: str) -> date:
    """The as-of date that a partition key names."""
    return datetime.strptime(key, _KEY_FORMAT).replace(tzinfo=UTC).date()


def as_of_window(first: date, last: date) -> Window:
    """The window of the feature table that holds the as-of dates from `first` to `last`, and no other."""
    return Window(at_midnight(first), advance(at_midnight(last), get_settings().partition_grain))


def window_before(first: date, last: date) -> Window:
    """The window of what happened in the partitions of the as-of dates from `first` to `last`, up to the last."""
    grain = get_settings().partition_grain
    return Window(floor(at_midnight(first - timedelta(days=1)), grain), at_midnight(last))


def partition_of(first: date) -> Window:
    """The partition that begins on `first`, as far as the shop goes."""
    end = load_shop(get_settings()).end
    whole = advance(at_midnight(first), get_settings().partition_grain)
    return Window(at_midnight(first), min(whole, at_midnight(end)) if end else whole)


def as_of_after(last_day: date) -> date:
    """The latest as-of date of data whose last day is `last_day`, as `scoring_date` has it."""
    settings = get_settings()
    begins = floor(at_midnight(last_day), settings.partition_grain)
    ends, end = advance(begins, settings.partition_grain).date(), load_shop(settings).end
    return ends if end is None or ends <= end else begins.date()


def data_end(dates: Sequence[date]) -> date:
    """The day after the last of the shop's data that the as-of dates, oldest first, have seen."""
    return customers.data_end(dates, load_shop(get_settings()).end)


def scoring_date(dates: Sequence[date]) -> date:
    """The latest of the as-of dates, oldest first, up to which the data are complete; or else the first."""
    return max((day for day in dates if day <= data_end(dates)), default=dates[0])

"""Whether the labels of a target are of their windows: no earlier fact gives them away, and no later one changes them.

The SELECT of a target is run again on marts that end where the window begins, and on marts that end where it does.
What a SELECT may read, and how its events are read, is `target`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import duckdb

from ml_assets.core.features.customers import Marts
from ml_assets.core.models.errors import OwnModelError
from ml_assets.core.own_models.target import Connect, events_select, first_line

UNDONE_SHARE = 0.05
"""Where fewer of those to whom earlier facts alone give an event have none in the end, the answer was known before."""
FEW, FEWEST = 0.01, 2
"""So many labels may be known or change, as a share, and of however few: a product or a customer that is corrected
later moves some."""

_VERSIONS = """
    SELECT * REPLACE (
        CASE WHEN valid_to < {moment} THEN valid_to ELSE TIMESTAMPTZ '9999-12-31 00:00:00+00' END AS valid_to,
        valid_to IS NULL OR valid_to >= {moment} AS is_current)
    FROM ({mart}) WHERE valid_from < {moment}"""
_HERE = {
    "dim_customers": f"{_VERSIONS} AND (registered_at IS NULL OR registered_at < {{moment}})",
    "dim_products": _VERSIONS,
    "fct_experiment_assignments": "SELECT * FROM ({mart}) WHERE assigned_at < {moment}",
    "fct_order_items": "SELECT * FROM ({mart}) WHERE ordered_at < {moment}",
    "fct_orders": "SELECT * FROM ({mart}) WHERE ordered_at < {moment}",
    "fct_payments": "SELECT * FROM ({mart}) WHERE paid_at < {moment}",
    "fct_refunds": "SELECT * FROM ({mart}) WHERE refunded_at < {moment}",
}
"""The marts as they were at a moment; the calendar and the campaigns stay whole, as they are plans."""
_KNOWN = _HERE | {"fct_events": "SELECT * FROM ({mart}) WHERE greatest(occurred_at, received_at) < {moment}"}
"""An event counts once it has happened and the shop knows of it, ..."""
_HAPPENED = _HERE | {"fct_events": "SELECT * FROM ({mart}) WHERE least(occurred_at, received_at) < {moment}"}
"""... and an outcome is what happened in the window, though the shop may learn of it late."""


class _Events(NamedTuple):
    """Customers with an event in a window: by cut and by whole marts, by the cut ones only, by the whole ones only."""

    both: int
    by_cut: int
    by_whole: int


def require_in_window(
    connect: Connect, select: str, tables: Marts, as_of_dates: Sequence[date], within_days: int
) -> None:
    """Raise OwnModelError where the labels of `as_of_dates` are known before their windows, or change after them.

    `select` is a target's, and `tables` are SELECTs of marts by name, over a connection of `connect`. What is written
    into a row later (an order's status, a customer's address) counts as it is now: what it was is not kept.
    """
    before, after = [], []
    try:
        with connect() as con:
            con.execute(f"CREATE TEMP TABLE whole_events AS {events_select(select, tables)}")
            for as_of in as_of_dates:
                end = as_of + timedelta(days=within_days)
                before.append(_compared(con, select, _cut(tables, _KNOWN, as_of), as_of, end))
                after.append(_compared(con, select, _cut(tables, _HAPPENED, end), as_of, end))
    except duckdb.Error as error:
        raise OwnModelError(f"target.events: its SELECT cannot be run: {first_line(error)}") from None
    known, settled = _total(before), _total(after)
    have = known.both + known.by_whole
    if known.both > max(FEWEST, FEW * have) and known.by_cut <= UNDONE_SHARE * (known.both + known.by_cut):
        raise OwnModelError(
            f"target.events: what it asks is known before: {known.both:,} of {have:,} events in the windows follow "
            "from what was there before the windows began. Let happened_at be the moment of the fact itself, and leave "
            "out what is added to it and days of dim_dates that no fact is joined to."
        )
    changed, either = settled.by_cut + settled.by_whole, sum(settled)
    if changed > max(FEWEST, FEW * either):
        raise OwnModelError(
            f"target.events: what comes after a window decides on it: {changed:,} of {either:,} labels with an event "
            "differ on marts that end with the window. Let happened_at be the moment at which an event is certain (of "
            "an order that is refunded, refunded_at), join the version of a customer or a product that held then, and "
            "leave out last rows, next rows and what is taken from a time."
        )


def _cut(tables: Marts, cuts: Marts, day: date) -> Marts:
    """The marts as they were when `day` began."""
    moment = f"TIMESTAMPTZ '{day.isoformat()} 00:00:00+00'"
    return {name: cuts.get(name, "{mart}").format(mart=mart, moment=moment) for name, mart in tables.items()}


def _compared(con: duckdb.DuckDBPyConnection, select: str, cut: Marts, start: date, end: date) -> _Events:
    """Who has an event from `start` to before `end` by the `cut` marts, against `whole_events`."""
    row = con.execute(
        f"""
        WITH by_cut AS (
            SELECT DISTINCT customer_id FROM ({events_select(select, cut)}) WHERE day >= $start AND day < $end
        ), by_whole AS (
            SELECT DISTINCT customer_id FROM whole_events WHERE day >= $start AND day < $end
        )
        SELECT count(*) FILTER (c.customer_id IS NOT NULL AND w.customer_id IS NOT NULL),
            count(*) FILTER (w.customer_id IS NULL), count(*) FILTER (c.customer_id IS NULL)
        FROM by_cut c FULL JOIN by_whole w ON w.customer_id = c.customer_id""",
        {"start": start, "end": end},
    ).fetchone()
    return _Events(*(row or (0, 0, 0)))


def _total(found: Sequence[_Events]) -> _Events:
    """Those of all windows; of a customer once for each."""
    return _Events(*(sum(counts) for counts in zip(*found, strict=True)))

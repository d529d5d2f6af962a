"""The removal effect of each channel in a Markov chain of customer journeys.

Journeys are paths from a start over channels to a conversion or to nothing. The share of journeys that convert is
reckoned on the chain of their counted transitions, then again with one channel removed, so that whoever comes to it
goes away instead: the part of conversions that is lost is the channel's removal effect, and its share is its part of
the sum of all effects. First-order chain, after Anderl, Becker, von Wangenheim and Schumann (2016), Mapping the
customer journey: Lessons learned from graph-based online attribution modeling, International Journal of Research in
Marketing 33(3), 457-474.

Counting, solving and sharing out only. What a path is, is said in the marts order_touches (each order's touches make
one path that converts) and abandoned_touches (paths that led to no order); when it is done, in `defs.attribution`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cartograph.contracts import Column, Contract

MADE_OF = "events"
"""The dataset without which there is no touch to credit."""
CONTRACT = Contract(
    dataset="markov_attribution",
    grain="A channel that was touched on any path, over all dates.",
    key=("channel",),
    columns=(
        Column(name="channel", type="string", description="The channel."),
        Column(
            name="removal_effect",
            type="double",
            description="Part of all conversions that would be lost if whoever comes to the channel went away, 0 to 1.",
        ),
        Column(
            name="credit_share",
            type="double",
            description="Its removal effect as a part of the sum of all channels'; 0 where nothing converts.",
        ),
        Column(name="orders_credited", type="price", description="Orders, in parts: its share of all."),
        Column(
            name="revenue_amount",
            type="money",
            description="Revenue credited: its share of the revenue of all orders that were not cancelled.",
        ),
    ),
)


@dataclass(frozen=True)
class Transitions:
    """How often journeys went from one state to another.

    `moves[i, j]` counts steps from state i to channel j, `converted[i]` and `lost[i]` journeys that ended after state
    i. State i is `channels[i]`; the last one, after all channels, is the start.
    """

    channels: tuple[str, ...]
    moves: npt.NDArray[np.float64]
    converted: npt.NDArray[np.float64]
    lost: npt.NDArray[np.float64]


def count_transitions(connection: duckdb.DuckDBPyConnection, won: str, lost: str) -> Transitions:
    """The counted transitions of the paths in two relations, SELECTs of DuckDB.

    `won` holds the touches of orders (order_id, touch_number, channel), `lost` those of paths that led to none
    (path_key, touch_number, channel).
    """
    counted = connection.execute(
        f"""
        WITH touches AS (
            SELECT order_id AS path, true AS is_won, touch_number, channel FROM ({won})
            UNION ALL
            SELECT path_key, false, touch_number, channel FROM ({lost})
        ),
        steps AS (
            SELECT channel AS origin, lead(channel) OVER path AS target, is_won, touch_number FROM touches
            WINDOW path AS (PARTITION BY is_won, path ORDER BY touch_number)
        )
        SELECT origin, target, is_won, count(*) AS steps FROM steps GROUP BY ALL
        UNION ALL
        SELECT NULL, origin, true, count(*) FROM steps WHERE touch_number = 1 GROUP BY ALL
        """
    ).fetchall()
    channels = tuple(sorted({origin for origin, *_ in counted if origin is not None}))
    place = {channel: number for number, channel in enumerate(channels)} | {None: len(channels)}
    moves = np.zeros((len(channels) + 1, len(channels)))
    converted, gone = np.zeros(len(channels) + 1), np.zeros(len(channels) + 1)
    for origin, target, is_won, steps in counted:  # at most a few for each pair of channels
        if target is not None:
            moves[place[origin], place[target]] += steps
        else:
            (converted if is_won else gone)[place[origin]] += steps
    return Transitions(channels, moves, converted, gone)


def removal_effects(transitions: Transitions) -> npt.NDArray[np.float64]:
    """The removal effect of each channel, 0 to 1; all 0 where nothing converts."""
    size = len(transitions.channels)
    whole = conversion_rate(transitions)
    if whole == 0:
        return np.zeros(size)
    without = np.array([conversion_rate(transitions, removed) for removed in range(size)])
    return np.clip(1 - without / whole, 0, 1)


def conversion_rate(transitions: Transitions, removed: int | None = None) -> float:
    """The probability that a journey converts; with `removed`, if whoever comes to that channel went away."""
    size = len(transitions.channels)
    if not size:
        return 0.0
    total = transitions.moves.sum(axis=1) + transitions.converted + transitions.lost
    chance = transitions.moves / total[:, None]
    if removed is not None:
        chance[:, removed] = 0
    # The chance x to convert from each channel: x = chance x + converted.
    ends = transitions.converted / total
    reached = np.linalg.solve(np.eye(size) - chance[:size], ends[:size])
    return float(chance[size] @ reached)


def shares(effects: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each effect as a part of their sum; all 0 where all effects are."""
    total = effects.sum()
    return effects / total if total > 0 else np.zeros_like(effects)


def split(total: Decimal, parts: Sequence[float], digits: int) -> list[Decimal]:
    """`total` by `parts` that sum to 1, each with `digits` decimals, so that they add up to it exactly.

    What is rounded is the sum so far, of which each part gets what it adds; the last sum is the total itself.
    """
    unit = Decimal(1).scaleb(-digits)
    until = [(total * Decimal(part)).quantize(unit, ROUND_HALF_UP) for part in np.cumsum(parts)[:-1].tolist()]
    return [high - low for low, high in zip([Decimal(0), *until], [*until, total.quantize(unit)], strict=True)]


def attribute(connection: duckdb.DuckDBPyConnection, won: str, lost: str) -> pa.Table:
    """The rows of `CONTRACT` for the paths in two relations, as `count_transitions` takes them.

    `won` has the order's `revenue_amount` besides. Without any order all credits are 0.
    """
    transitions = count_transitions(connection, won, lost)
    if not transitions.channels:
        return CONTRACT.arrow_schema().empty_table()
    effects = removal_effects(transitions)
    parts = shares(effects)
    orders, revenue = order_totals(connection, won)
    columns = {
        "channel": list(transitions.channels),
        "removal_effect": effects,
        "credit_share": parts,
        "orders_credited": split(Decimal(orders), parts.tolist(), 4),
        "revenue_amount": split(revenue, parts.tolist(), 2),
    }
    return pa.table(columns, schema=CONTRACT.arrow_schema())


def order_totals(connection: duckdb.DuckDBPyConnection, won: str) -> tuple[int, Decimal]:
    """The number of orders with touches, and their revenue."""
    (found,) = connection.execute(
        f"SELECT count(*), coalesce(sum(revenue_amount), 0) FROM ({won}) WHERE touch_number = 1"
    ).fetchall()
    return int(found[0]), Decimal(found[1])

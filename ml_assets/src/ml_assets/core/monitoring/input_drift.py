"""How far the customers whom models are asked about have changed, at each of the latest as-of dates.

A shop has seasons: so a date is held against the dates before it, and what is unusual against how much dates have
differed so far. What gets older by itself is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cartograph.contracts import Column, Contract
from ml_assets.core.evaluation.drift import domain_shift, kolmogorov_smirnov, population_stability
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import column_values
from ml_assets.core.models.churn import ACTIVE_DAYS, QUESTION
from ml_assets.core.models.classifier import spaced

ALL = "all features together"
AGEING = frozenset({"registered_days", "tenure_days"})
"""In a shop that began not long ago these grow with its age, and tell any two dates apart."""
REFERENCE_DATES = 6
DATES = 12
FEWEST_EARLIER = 4
"""Dates judged before, below which nobody knows how much they usually differ."""
FEWEST_ROWS = 100
SPREADS = 4.0
"""Deviations above the median, by the median absolute deviation, from which a shift is unusual."""
LEAST = 0.03
"""A rise of the AUC above the median that matters to nobody, however steady the dates before were."""
LEAST_INDEX, TIMES = 0.1, 2.0
"""A feature alone is unusual from this stability index on, if that is so many times the highest of the dates before."""

CONTRACT = Contract(
    dataset="customer_feature_drift",
    grain="A feature, or all of them together, on an as-of date.",
    key=("as_of_date", "feature"),
    event_time="as_of_date",
    columns=(
        Column(name="as_of_date", type="date", description="The customers active on this day are compared."),
        Column(name="feature", type="string", description=f"The feature, or: {ALL}."),
        Column(name="customers", type="bigint", description="Rows of the as-of date."),
        Column(name="reference_customers", type="bigint", description="Rows of the dates before, compared with."),
        Column(
            name="stability_index",
            type="double",
            nullable=True,
            description="Population stability index over tenths; null for all together.",
        ),
        Column(
            name="largest_distance",
            type="double",
            nullable=True,
            description="Kolmogorov and Smirnov's distance of distributions, 0 to 1; null for all together.",
        ),
        Column(
            name="domain_auc",
            type="double",
            nullable=True,
            description="How well a classifier tells the dates apart: 0.5 is not at all; null for single features.",
        ),
    ),
)


class Judgement(NamedTuple):
    """The latest date's shift against those before it; `limit` is None where there are too few to judge by."""

    as_of: date
    auc: float
    limit: float | None
    most_changed: tuple[tuple[str, float], ...]
    unusual: tuple[str, ...]
    """The features that alone differ more than they did on any date before."""

    @property
    def is_usual(self) -> bool:
        """Whether the latest date differs no more than dates do."""
        return self.limit is None or (self.auc <= self.limit and not self.unusual)


def drift(con: duckdb.DuckDBPyConnection, features: str, dates: Sequence[date]) -> pa.Table:
    """The table of `CONTRACT` for the latest DATES of the as-of `dates` which have earlier ones to be compared with.

    `features` is a DuckDB SELECT of the feature table; dates are taken 28 days apart.
    """
    rows: list[tuple[date, str, int, int, float | None, float | None, float | None]] = []
    for as_of, current, reference in _comparisons(con, features, spaced(dates, QUESTION.spacing_days)):
        sizes = (len(current), len(reference))
        names = [name for name in current.schema.names if name not in {*CUSTOMER_FEATURES.key, *AGEING}]
        now, before = (column_values(side, names) for side in (current, reference))
        rows.append((as_of, ALL, *sizes, None, None, domain_shift(before, now).auc))
        rows += [
            (as_of, name, *sizes, population_stability(a, b), kolmogorov_smirnov(a, b), None)
            for name, a, b in zip(names, before.T, now.T, strict=True)
        ]
    return CONTRACT.arrow_table(rows)


def judge(table: pa.Table) -> Judgement | None:
    """The latest date of `drift` against the earlier ones; None where no date could be compared."""
    together = table.filter(pc.equal(table["feature"], ALL)).sort_by("as_of_date")
    if not len(together):
        return None
    *earlier, latest = together["domain_auc"].to_pylist()
    as_of = together["as_of_date"][-1].as_py()
    limit = None
    if len(earlier) >= FEWEST_EARLIER:
        middle = float(np.median(earlier))
        spread = 1.4826 * float(np.median(np.abs(np.asarray(earlier) - middle)))
        limit = min(middle + max(SPREADS * spread, LEAST), 1.0)
    alone = table.filter(pc.is_valid(table["stability_index"]))
    now, before = (alone.filter(of(alone["as_of_date"], as_of)) for of in (pc.equal, pc.less))
    changed = [(row["feature"], row["stability_index"]) for row in now.sort_by(_MOST_FIRST).to_pylist()]
    highest = before.group_by("feature").aggregate([("stability_index", "max")])
    limits = dict(zip(highest["feature"].to_pylist(), highest["stability_index_max"].to_pylist(), strict=True))
    return Judgement(
        as_of,
        latest,
        limit,
        tuple(changed[:5]),
        tuple(name for name, index in changed if index > max(LEAST_INDEX, TIMES * limits.get(name, np.inf))),
    )


_MOST_FIRST = [("stability_index", "descending"), ("feature", "ascending")]


def _comparisons(
    con: duckdb.DuckDBPyConnection, features: str, dates: Sequence[date]
) -> Iterator[tuple[date, pa.Table, pa.Table]]:
    """Each of the latest DATES with its rows and those of the REFERENCE_DATES before, where both are enough."""
    chosen = list(dates)[-DATES - REFERENCE_DATES :]
    rows = con.execute(
        f"SELECT * FROM ({features}) WHERE list_contains(CAST($dates AS DATE[]), as_of_date) "
        "AND recency_days <= $active ORDER BY as_of_date, customer_id",
        {"dates": chosen, "active": ACTIVE_DAYS},
    ).to_arrow_table()
    for position, as_of in list(enumerate(chosen))[REFERENCE_DATES:]:
        before = pa.array(chosen[position - REFERENCE_DATES : position], pa.date32())
        current = rows.filter(pc.equal(rows["as_of_date"], as_of))
        reference = rows.filter(pc.is_in(rows["as_of_date"], before))
        if min(len(current), len(reference)) >= FEWEST_ROWS:
            yield as_of, current, reference

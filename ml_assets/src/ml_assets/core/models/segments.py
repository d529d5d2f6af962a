"""Behavioural segments: customers who buy in the same way, whatever they buy how often and for how much.

How recent, frequent and worthy customers are, `rfm_segments` tells; here it is on which device, with or without
coupons, how much they look around and what they fill a basket with. KMeans on scaled behaviours, as many segments as
have the highest silhouette, numbers that stay the same from one training to the next, and names in plain words.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import column_values
from ml_assets.core.models.errors import NotEnoughData, TooYoung

NAME = "customer_segments"
FEWEST_ORDERS = 5
"""Segments are found among customers with so many orders; those with fewer get the segment that they are nearest to."""
FEWEST_CUSTOMERS = 200
NUMBERS = range(3, 9)
"""The numbers of segments to choose from."""
HORIZON_DAYS = 90
PRIOR_ORDERS = 4.0
"""A share of a customer's orders is drawn to that of all customers as if it had been seen in so many more orders."""
BOOTSTRAPS = 10
SILHOUETTE_ROWS = 1500
SEED = 19

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


class Behaviour(NamedTuple):
    """A column of the clustering: what it is made of, and the words for customers with much or little of it.

    One feature that is a share is taken as it is, another one by its logarithm; of two the logarithm of their ratio.
    """

    name: str
    features: tuple[str, ...]
    is_share: bool
    high: str
    low: str


BEHAVIOURS = {
    behaviour.name: behaviour
    for behaviour in (
        Behaviour("mobile_orders", ("mobile_order_share",), True, "orders on mobile", "orders on a computer"),
        Behaviour("mobile_visits", ("mobile_visit_share",), True, "visits on mobile", "visits on a computer"),
        Behaviour("coupons", ("coupon_share",), True, "with coupons", "without coupons"),
        Behaviour("price", ("mean_order_amount", "mean_order_quantity"), False, "dear things", "cheap things"),
        Behaviour("bulk", ("mean_order_quantity", "mean_order_lines"), False, "many of each", "few of each"),
        Behaviour("focus", ("top_category_share",), True, "one category", "many categories"),
        Behaviour("browsing", ("sessions_90d", "orders_90d"), False, "much looking around", "little looking around"),
    )
}
"""How customers may differ, of which a shop has those whose features it has. The size of a basket is not among them: it
is a part of what they spend."""


class Segment(BaseModel):
    """A segment: its number, which it keeps, its name, and its centre in standard deviations from the mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    name: str
    centre: tuple[float, ...]
    customers: int


class SegmentModel(BaseModel):
    """Fitted segments; their JSON is the form in which they leave training.

    `behaviours` name the columns; `typical` is what a missing value of each counts as, and `mean` and `spread` are its
    scale. `largest_number` is the greatest that a segment ever had: a new one gets a greater.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    behaviours: tuple[str, ...]
    typical: tuple[float, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    segments: tuple[Segment, ...]
    largest_number: int

    def to_bytes(self) -> bytes:
        """The model as JSON; the same model gives the same bytes."""
        return self.model_dump_json().encode()

    def scaled(self, rows: pa.Table) -> Matrix:
        """The behaviours of customers, in standard deviations from the mean of those among whom they were found."""
        values = _values(rows, self.behaviours, np.array(self.typical))
        result: Matrix = (values - np.array(self.mean)) / np.array(self.spread)
        return result

    def nearest(self, rows: pa.Table) -> Numbers:
        """The place in `segments` of each customer's own."""
        return _nearest(self.scaled(rows), self._centres)

    def nearer(self, rows: pa.Table, number: int) -> Vector:
        """By how much each customer is nearer to the segment of that number than to any other, or less so than to one.

        In squares of standard deviations, of which the distance is the sum over behaviours.

        Raises:
            ValueError: there is no such segment, or no other.
        """
        numbers = np.array([segment.number for segment in self.segments])
        if number not in numbers or len(numbers) < 2:
            raise ValueError(f"the model has the segments {', '.join(map(str, numbers))}, and {number} was asked of")
        distances = _distances(self.scaled(rows), self._centres)
        gap: Vector = distances[:, numbers != number].min(axis=1) - distances[:, numbers == number][:, 0]
        return gap

    @property
    def _centres(self) -> Matrix:
        return np.array([segment.centre for segment in self.segments])


NO_EARLIER = "none"


def earlier_of(text: str) -> SegmentModel | None:
    """The model by whose numbers a training went, from what the registry says of it."""
    return None if text == NO_EARLIER else SegmentModel.model_validate_json(text)


class Trained(NamedTuple):
    """Fitted segments and what is known of them.

    `silhouettes` are those of each number of segments that was tried; `stability` the mean adjusted Rand index with
    segments of bootstrap samples. `tested` are those made on `holdout`. `explained` is how much of the variance of
    behaviour in the HORIZON_DAYS days after it is explained by RFM quintiles, and `explained_more` by these together
    with the tested segments.
    """

    model: SegmentModel
    tested: SegmentModel
    customers: int
    silhouettes: dict[int, float]
    stability: float
    holdout: date
    explained: dict[str, float]
    explained_more: dict[str, float]

    @property
    def gains(self) -> dict[str, float]:
        """What the segments add to RFM quintiles, by outcome: share of the variance that these leave."""
        return {
            name: (self.explained_more[name] - rfm) / (1 - rfm) if rfm < 1 else 0.0
            for name, rfm in self.explained.items()
        }

    @property
    def metrics(self) -> dict[str, float]:
        """The figures by name."""
        return {
            "segments": float(len(self.model.segments)),
            "silhouette": self.silhouettes[len(self.model.segments)],
            "bootstrap_ari": self.stability,
            **{f"gain_{name}": gain for name, gain in self.gains.items()},
        }

    @property
    def card(self) -> dict[str, Any]:
        """The model's card, but for the version that the registry gives it."""
        return {
            "name": NAME,
            "as_of": self.model.as_of.isoformat(),
            "features": [spec.model_dump() for spec in CUSTOMER_FEATURES.specs(inputs_of(self.model.behaviours))],
            "metrics": self.metrics,
            "baseline_metrics": {f"rfm.explained_{name}": value for name, value in self.explained.items()},
        }


def train(
    con: duckdb.DuckDBPyConnection,
    features: str,
    orders: str,
    as_of_dates: Collection[date],
    *,
    data_end: date,
    earlier: SegmentModel | None,
) -> Trained:
    """Find segments on the latest as-of date, and see what those of an earlier date told of the days after it.

    `features` and `orders` are DuckDB SELECTs; the numbers of segments are those of `earlier` where they are the same.

    Raises:
        TooYoung: no as-of date has HORIZON_DAYS days after it.
        NotEnoughData: too few customers have ordered FEWEST_ORDERS times.
    """
    complete = [day for day in sorted(as_of_dates) if day <= data_end]
    known = [day for day in complete if day + timedelta(days=HORIZON_DAYS) <= data_end]
    if not known:
        raise TooYoung(
            f"Segments need an as-of date with {HORIZON_DAYS} days of orders after it, to see whether they tell "
            f"anything: the data end on {data_end}. Load more time."
        )
    holdout, today = known[-1], complete[-1]
    before, rows = experienced(con, features, holdout), experienced(con, features, today)
    for day, found in ((holdout, before), (today, rows)):
        if len(found) < FEWEST_CUSTOMERS:
            raise NotEnoughData(
                f"Segments need {FEWEST_CUSTOMERS} customers with {FEWEST_ORDERS} orders or more: before {day} there "
                f"are {len(found)}. Load more customers or more time."
            )
    model, silhouettes = fit(rows, today, earlier)
    tested, _ = fit(before, holdout, None)
    explained, more = _explained(con, orders, before, tested, holdout)
    return Trained(model, tested, len(rows), silhouettes, stability(rows, model), holdout, explained, more)


def experienced(con: duckdb.DuckDBPyConnection, features: str, as_of: date) -> pa.Table:
    """The feature rows of customers with FEWEST_ORDERS orders or more, by customer."""
    return con.execute(
        f"SELECT * FROM ({features}) WHERE as_of_date = $as_of AND orders_count >= $fewest ORDER BY customer_id",
        {"as_of": as_of, "fewest": FEWEST_ORDERS},
    ).to_arrow_table()


def fit(rows: pa.Table, as_of: date, earlier: SegmentModel | None) -> tuple[SegmentModel, dict[int, float]]:
    """The segments of customers, and the silhouette of each number of segments: the highest decides.

    Raises:
        NotEnoughData: all customers behave the same.
    """
    from sklearn.metrics import silhouette_score

    names, typical, values = _informative(rows)
    if len(names) < 2:
        raise NotEnoughData(
            f"Segments need two ways in which customers differ, of {', '.join(BEHAVIOURS)}: these differ in "
            f"{', '.join(names) or 'none'}. Load devices, coupons, categories or events."
        )
    mean, spread = values.mean(axis=0), values.std(axis=0)
    scaled = (values - mean) / spread
    centred = {number: _cluster(scaled, number, SEED) for number in NUMBERS}
    labels = {number: _nearest(scaled, centres) for number, centres in centred.items()}
    silhouettes = {
        number: float(silhouette_score(scaled, found, sample_size=min(SILHOUETTE_ROWS, len(rows)), random_state=SEED))
        for number, found in labels.items()
        if len(set(found.tolist())) == number
    }
    if not silhouettes:
        raise NotEnoughData(f"Segments need customers who differ: of {len(rows)}, nearly all behave the same.")
    chosen = max(silhouettes, key=lambda number: silhouettes[number])
    sizes = np.bincount(labels[chosen], minlength=chosen)
    order = np.argsort(-sizes, kind="stable")
    centres, sizes = centred[chosen][order], sizes[order]
    numbers, largest = _numbers(centres * spread + mean, names, earlier)
    described = _names(centres, names)
    model = SegmentModel(
        as_of=as_of,
        behaviours=names,
        typical=tuple(typical.tolist()),
        mean=tuple(mean.tolist()),
        spread=tuple(spread.tolist()),
        segments=tuple(
            Segment(number=number, name=name, centre=tuple(centre.tolist()), customers=int(size))
            for number, name, centre, size in zip(numbers, described, centres, sizes, strict=True)
        ),
        largest_number=largest,
    )
    return model, silhouettes


def stability(rows: pa.Table, model: SegmentModel) -> float:
    """The mean adjusted Rand index of the model's segments with those that bootstrap samples of the customers give."""
    from sklearn.metrics import adjusted_rand_score

    scaled, own = model.scaled(rows), model.nearest(rows)
    generator = np.random.default_rng(SEED)
    found = []
    for draw in range(BOOTSTRAPS):
        chosen = generator.integers(0, len(scaled), len(scaled))
        centres = _cluster(scaled[chosen], len(model.segments), SEED + 1 + draw)
        found.append(adjusted_rand_score(own, _nearest(scaled, centres)))
    return float(np.mean(found))


def agreement(rows: pa.Table, one: SegmentModel, other: SegmentModel) -> float:
    """The adjusted Rand index of two models' segments of the same customers: 1 where none moved, 0 as by chance."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(one.nearest(rows), other.nearest(rows)))


def _cluster(scaled: Matrix, number: int, seed: int) -> Matrix:
    """The centres of so many clusters, the same to the last digit however many threads there are.

    On one thread: several add up their parts in the order in which they end, which moves customers at the border.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different customers than clusters
        centres: Matrix = KMeans(number, n_init=5, random_state=seed).fit(scaled).cluster_centers_
    return centres


def _nearest(scaled: Matrix, centres: Matrix) -> Numbers:
    nearest: Numbers = _distances(scaled, centres).argmin(axis=1)
    return nearest


def _distances(scaled: Matrix, centres: Matrix) -> Matrix:
    """Customers × centres: squared distances."""
    distances: Matrix = ((scaled[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    return distances


def inputs_of(names: Sequence[str]) -> tuple[str, ...]:
    """The features that these behaviours are made of."""
    return tuple(dict.fromkeys(["orders_count", *(name for one in names for name in BEHAVIOURS[one].features)]))


def _informative(rows: pa.Table) -> tuple[tuple[str, ...], Matrix, Matrix]:
    """The behaviours that the shop records and that differ between customers, their typical values, and the values."""
    there = [name for name in BEHAVIOURS if set(inputs_of([name])) <= set(rows.schema.names)]
    raw = _raw(rows, there)
    known = [name for column, name in enumerate(there) if not np.isnan(raw[:, column]).all()]
    typical = np.nanmedian(_raw(rows, known), axis=0) if known else np.empty(0)
    values = _values(rows, known, typical)
    varied = values.std(axis=0) > 1e-9
    return tuple(name for name, keep in zip(known, varied, strict=True) if keep), typical[varied], values[:, varied]


def _raw(rows: pa.Table, names: Sequence[str]) -> Matrix:
    """The behaviours as `Behaviour` says, not a number where a feature is null."""
    columns = []
    for behaviour in (BEHAVIOURS[name] for name in names):
        values, *others = column_values(rows, behaviour.features).astype(np.float64).T
        logs = np.log((values + 1) / (others[0] + 1)) if others else np.log1p(np.maximum(values, 0))
        columns.append(values if behaviour.is_share else logs)
    return np.column_stack(columns) if columns else np.empty((len(rows), 0))


def _values(rows: pa.Table, names: Sequence[str], typical: Matrix) -> Matrix:
    """The behaviours: gaps count as typical, and shares of few orders are drawn to what is typical."""
    raw = _raw(rows, names)
    filled: Matrix = np.where(np.isnan(raw), typical, raw)
    weight = column_values(rows, ["orders_count"]).astype(np.float64)
    weight = weight / (weight + PRIOR_ORDERS)
    shares = np.array([BEHAVIOURS[name].is_share for name in names])
    return np.where(shares, weight * filled + (1 - weight) * typical, filled)


def _numbers(centres: Matrix, names: Sequence[str], earlier: SegmentModel | None) -> tuple[list[int], int]:
    """A number for each centre: that of the earlier segment it is matched with, or a new one; and the largest ever.

    Matched by the assignment with the least total distance, on the scale of the earlier model (Kuhn, 1955).
    """
    from scipy.optimize import linear_sum_assignment

    if earlier is None or earlier.behaviours != tuple(names):
        first = earlier.largest_number if earlier else 0
        return list(range(first + 1, first + len(centres) + 1)), first + len(centres)
    scaled = (centres - np.array(earlier.mean)) / np.array(earlier.spread)
    before = np.array([segment.centre for segment in earlier.segments])
    distances = np.sqrt(((scaled[:, None, :] - before[None, :, :]) ** 2).sum(axis=2))
    rows, columns = linear_sum_assignment(distances)
    matched = {int(row): earlier.segments[column].number for row, column in zip(rows, columns, strict=True)}
    largest, numbers = earlier.largest_number, []
    for row in range(len(centres)):
        if row not in matched:
            largest += 1
        numbers.append(matched.get(row, largest))
    return numbers, largest


def _names(centres: Matrix, names: Sequence[str]) -> list[str]:
    """Each segment in words: the two behaviours in which its centre is farthest from the mean; a third where needed."""
    kinds = [BEHAVIOURS[name] for name in names]
    ranked = [
        [kinds[at].high if centre[at] > 0 else kinds[at].low for at in np.argsort(-np.abs(centre), kind="stable")]
        for centre in centres
    ]
    for length in range(2, len(names) + 1):
        found = [", ".join(one[:length]) for one in ranked]
        if len(set(found)) == len(found):
            return found
    return [f"{name} ({place})" for place, name in enumerate(found, 1)]


def _explained(
    con: duckdb.DuckDBPyConnection, orders: str, before: pa.Table, model: SegmentModel, as_of: date
) -> tuple[dict[str, float], dict[str, float]]:
    """Of each outcome after `as_of`, the share of variance that RFM quintiles explain, alone and with the segments."""
    came = _outcomes(con, orders, before, as_of)
    return (
        {name: _share_explained(outcome, _quintiles_of(before)) for name, outcome in came.items()},
        {name: _share_explained(outcome, _with_quintiles(before, model)) for name, outcome in came.items()},
    )


def unexplained(
    con: duckdb.DuckDBPyConnection, orders: str, before: pa.Table, model: SegmentModel, as_of: date
) -> npt.NDArray[np.float64]:
    """What RFM quintiles and the model's segments together leave unexplained of how each customer ordered afterwards.

    For each row of `before`, the squared error over the outcome's variance, on average over the outcomes that are
    known of the customer; NaN where none is.
    """
    columns, came = _with_quintiles(before, model), _outcomes(con, orders, before, as_of)
    found = np.full((len(came) + 1, len(before)), np.nan)
    for row, outcome in enumerate(came.values()):
        known = ~np.isnan(outcome)
        found[row, known] = _squared_errors(columns[known], outcome[known]) / outcome[known].var()
    counts = (~np.isnan(found)).sum(axis=0)
    return np.where(counts > 0, np.nansum(found, axis=0) / np.maximum(counts, 1), np.nan)


def _outcomes(
    con: duckdb.DuckDBPyConnection, orders: str, before: pa.Table, as_of: date
) -> dict[str, npt.NDArray[np.float64]]:
    """How the customers of `before` ordered in the HORIZON_DAYS days from `as_of`; what too few differ in is not told.

    NaN where it is not known of a customer, who ordered nothing.
    """
    con.register("segmented", before.select(["customer_id"]))
    try:
        found = con.execute(
            f"""
            SELECT coalesce(sum(total_amount), 0)::DOUBLE AS spend,
                count(coupon_code)::DOUBLE / nullif(count(order_id), 0) AS coupons,
                (count(*) FILTER (device = 'mobile'))::DOUBLE / nullif(count(device), 0) AS mobile,
                sum(line_count)::DOUBLE / nullif(count(order_id), 0) AS lines
            FROM segmented LEFT JOIN (
                SELECT * FROM ({orders}) WHERE NOT is_cancelled AND ordered_at >= CAST($as_of AS TIMESTAMPTZ)
                    AND ordered_at < CAST($as_of AS TIMESTAMPTZ) + to_days($days)
            ) USING (customer_id) GROUP BY customer_id ORDER BY customer_id""",
            {"as_of": as_of, "days": HORIZON_DAYS},
        ).to_arrow_table()
    finally:
        con.unregister("segmented")
    columns = {name: column_values(found, [name]).astype(np.float64)[:, 0] for name in found.schema.names}
    return {
        name: outcome
        for name, outcome in columns.items()
        if (~np.isnan(outcome)).sum() >= FEWEST_CUSTOMERS // 2 and np.nanstd(outcome) > 0
    }


def _quintiles_of(rows: pa.Table) -> Matrix:
    return np.hstack([_quintiles(rows, name) for name in ("recency_days", "orders_count", "spend_amount")])


def _with_quintiles(rows: pa.Table, model: SegmentModel) -> Matrix:
    return np.hstack([_quintiles_of(rows), np.eye(len(model.segments))[model.nearest(rows)]])


def _quintiles(rows: pa.Table, name: str) -> Matrix:
    values = column_values(rows, [name])[:, 0]
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return np.eye(5)[rank * 5 // len(values)]


def _share_explained(outcome: npt.NDArray[np.float64], columns: Matrix) -> float:
    """R² where the outcome is known."""
    known = ~np.isnan(outcome)
    return float(1 - _squared_errors(columns[known], outcome[known]).mean() / outcome[known].var())


def _squared_errors(columns: Matrix, outcome: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of predictions for customers that the ridge regression has not seen, in five folds."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(5, shuffle=True, random_state=SEED)
    predicted = cross_val_predict(Ridge(alpha=1.0), columns, outcome, cv=folds)
    errors: npt.NDArray[np.float64] = (outcome - predicted) ** 2
    return errors

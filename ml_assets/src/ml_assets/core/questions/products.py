"""Questions about weeks of products: what a price, a discount or a spell out of stock does to units or margin.

The form of their files, and the study that is made of a panel: which rows, what is held fixed, and what has a level of
its own. The panel's SQL is `product_weeks`, how an effect is found `ml_assets.core.causal.continuous`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from cartograph.contracts import Column, Contract
from ml_assets.core.causal.continuous.shape import Shape, ShapedStudy
from ml_assets.core.causal.graph import Graph
from ml_assets.core.causal.study import Covariates, Design, Labels, Matrix, Vector
from ml_assets.core.questions.asked import OUTCOME, TREATMENT, Asked, Part
from ml_assets.core.questions.posed import SHARE, Data, NoAnswer, Posed
from ml_assets.core.questions.product_weeks import (
    AFTER_WEEKS,
    CONTRACT,
    LEAST_DISCOUNT,
    REQUIRED_MARTS,
    STOCK_MART,
)

FEWEST_WEEKS, FEWEST_PRODUCTS = 12, 20
FEWEST_MOVED = 50
"""Product-weeks that must have had the discount, or the spell before them."""
FEWEST_CHANGES = 20
"""Changes of list prices that there must be."""
SEEN_UNITS = 8.0
"""Units a week from which on a discount is asked about. It is seen on lines, a slow product's only where it sells: with
these in, the effect on units was 4 % too high."""
Measure = Literal["list_price", "discount", "stock_out"]

CONFOUNDERS: Mapping[str, tuple[str, ...]] = {
    "list_price": ("units_before_price", "on_sale_days", "after_stock_out"),
    "discount": ("recent_units", "on_sale_days", "after_stock_out"),
    "stock_out": ("earlier_units", "on_sale_days"),
}
"""What was known before the treatment, beside the levels: sales before the price, the week or the spell, and age."""
BESIDE: Mapping[str, tuple[str, ...]] = {
    "list_price": ("is_promoted", "discount_beyond"),
    "discount": ("discount_beyond", "log_list_price"),
    "stock_out": ("is_promoted", "discount_beyond", "log_list_price"),
}
"""What was set along with the treatment and works beside it. Units follow the depth of a discount by a straight line of
logarithms; margin bends, as it is gone where the discount is as large as what is earned: then its square, too."""
LEVELS = ("product", "category_week")
"""What every question holds fixed: each product's own level, and each week's of its category, with the season, the
trend, and sales of the whole shop or category."""
WORDS: Mapping[str, str] = {
    "list_price": "at a list price 1 % higher",
    "discount": "with a discount of {depth:.0%} off the list price, and its place on the page",
    "stock_out": f"out of stock in the {AFTER_WEEKS} weeks before",
}
NAMES = tuple(dict.fromkeys(name for names in (*CONFOUNDERS.values(), *BESIDE.values(), LEVELS) for name in names))


class ProductTreatment(Part):
    """What is done to a product."""

    measure: Measure = Field(
        description="`list_price` (the effect is the elasticity), `discount` (that of `depth` against none) or "
        "`stock_out` (having been out of stock in the 4 weeks before)."
    )
    depth: float = Field(0.2, gt=0, lt=1, description="With `discount`: the discount that is told, as a share.")

    @model_validator(mode="after")
    def _depth_is_of_a_discount(self) -> ProductTreatment:
        if "depth" in self.model_fields_set and self.measure != "discount":
            raise ValueError("depth goes with measure: discount: leave it out")
        return self


class ProductOutcome(Part):
    """What is counted of a product in a week."""

    measure: Literal["units", "margin"] = Field(
        "units", description="`units`, or their `margin` after discounts; cancelled orders do not count."
    )


class ProductQuestion(Asked):
    """A question about weeks of products, as its file has it."""

    unit: Literal["product_week"] = Field(description="`customer` or `product_week`.")
    treatment: ProductTreatment = Field(description="What was done.")
    outcome: ProductOutcome = Field(default_factory=ProductOutcome, description="What is counted.")
    by_category: bool = Field(
        True, description="Whether each category has an effect of its own, of which the answer is the mean."
    )

    @model_validator(mode="after")
    def _fits(self) -> ProductQuestion:
        if self.estimand != "ATE":
            raise ValueError("estimand: of weeks of products it is the ATE, by category: leave it out")
        if self.modifiers is not None:
            raise ValueError("modifiers: the effect may depend on the category (by_category): leave it out")
        unknown = sorted(set(self.confounders or ()) - set(CONFOUNDERS[self.treatment.measure]))
        if unknown:
            raise ValueError(
                f"confounders: of {self.treatment.measure} they are "
                f"{', '.join(CONFOUNDERS[self.treatment.measure])}, got {unknown[0]}"
            )
        return self

    @property
    def observed(self) -> tuple[str, ...]:
        """What is held fixed, levels and what was set beside the treatment among it."""
        return (*self.adjusts_for, *BESIDE[self.treatment.measure], *LEVELS)

    @property
    def adjusts_for(self) -> tuple[str, ...]:
        """The columns of the panel that are confounders."""
        return CONFOUNDERS[self.treatment.measure] if self.confounders is None else self.confounders

    @property
    def marts(self) -> tuple[str, ...]:
        """The marts that it is read from: how stock was, where the shop counts it."""
        return (*REQUIRED_MARTS, STOCK_MART)

    @property
    def needs(self) -> frozenset[str]:
        """The marts that it is of no use without."""
        return frozenset(self.marts if self.treatment.measure == "stock_out" else REQUIRED_MARTS)


class ProductStudy(NamedTuple):
    """What `assess` takes, and the rows that it is made of, with `treatment` and `outcome`."""

    rows: pa.Table
    study: ShapedStudy
    design: Design


def pose(data: Data, question: ProductQuestion) -> Posed:
    """The question's panel, and the study that is made of it.

    Raises:
        NoAnswer: too few weeks or products, or hardly any had the treatment.
    """
    asked = study_of(question, usable(data.con.execute(f"FROM ({data.shared})").to_arrow_table()))
    rows = asked.rows
    measure, depth = question.treatment.measure, question.treatment.depth
    is_price = measure == "list_price"
    return Posed(
        contract=contract(question),
        rows=asked.rows,
        study=asked.study,
        design=asked.design,
        as_of=_latest(rows) + timedelta(days=7),
        treatment=WORDS[measure].format(depth=depth),
        outcome=f"{question.outcome.measure} of a product in a week",
        population=f"{pc.count_distinct(rows['product_id']).as_py()} products, each whole week on sale and in stock",
        unit="% of it" if is_price else SHARE,
        cost=question.cost or 0.0,
        value=question.value,
        notes={
            "levels": "each product's, and each week's of its category: season, trend and sales of the whole shop",
            "scale": "an elasticity" if is_price else "a relative change: 0.5 is half more, -0.3 is 30 % less",
        },
    )


def contract(question: ProductQuestion) -> Contract:
    """The table of the question's panel."""
    words = WORDS[question.treatment.measure].format(depth=question.treatment.depth)
    return Contract(
        dataset=f"{question.name}_panel",
        grain=CONTRACT.grain,
        key=CONTRACT.key,
        columns=(
            *CONTRACT.columns,
            Column(name=TREATMENT, type="double", description=f"Whether, or how far, the product was {words}."),
            Column(name=OUTCOME, type="double", description=f"{question.outcome.measure} of the week."),
        ),
    )


def usable(rows: pa.Table) -> pa.Table:
    """The weeks in which a product could be had on each day, at one discount.

    Raises:
        NoAnswer: these are too few.
    """
    found = rows.filter(pc.and_(pc.equal(rows["is_short"], 0), pc.equal(rows["is_steady"], 1)))
    weeks, products = (pc.count_distinct(found[name]).as_py() for name in ("week_start", "product_id"))
    if weeks < FEWEST_WEEKS or products < FEWEST_PRODUCTS:
        raise NoAnswer(
            f"{products} products were on sale in {weeks} whole weeks, and {FEWEST_PRODUCTS} in {FEWEST_WEEKS} are "
            "needed: load more orders"
        )
    return found


def study_of(question: ProductQuestion, rows: pa.Table) -> ProductStudy:
    """The study of the rows of a panel.

    Raises:
        NoAnswer: hardly any had the treatment, or the cost of what was sold is not known.
    """
    measure = question.treatment.measure
    if measure == "discount":
        rows = rows.filter(pc.greater_equal(rows["recent_units"], SEEN_UNITS))
    columns = _columns(rows, question.treatment.depth)
    treatment = columns[
        {"list_price": "log_list_price", "discount": "is_promoted", "stock_out": "after_stock_out"}[measure]
    ]
    if measure != "list_price" and (moved := int((treatment > 0).sum())) < FEWEST_MOVED:
        what = WORDS[measure].format(depth=question.treatment.depth)
        raise NoAnswer(f"{moved} of {len(rows)} weeks of a product were {what}, and {FEWEST_MOVED} are needed")
    outcome = columns["units" if question.outcome.measure == "units" else "margin_amount"]
    if np.isnan(outcome).any():
        raise NoAnswer("what some of the products cost the shop is not known: fill unit_cost of products")
    if measure == "list_price" and (changes := _price_changes(rows, treatment)) < FEWEST_CHANGES:
        raise NoAnswer(f"list prices changed {changes} times, and {FEWEST_CHANGES} are needed")
    confounders = list(question.adjusts_for)
    bends = ("discount_beyond_squared",) if question.outcome.measure == "margin" and measure == "discount" else ()
    beside = [name for name in (*BESIDE[measure], *bends) if np.ptp(columns[name]) > 0]
    products, categories, weeks = (_codes(rows[name]) for name in ("product_id", "category", "week_start"))
    names = tuple(sorted(pc.unique(rows["category"]).to_pylist()))
    has_groups = question.by_category and len(names) > 1
    study = ShapedStudy(
        treatment=treatment,
        outcome=outcome,
        confounders=Covariates(tuple(confounders), _matrix(columns, confounders, len(rows))),
        placebo_outcomes={"earlier_units": columns["earlier_units"]} if measure == "discount" else {},
        clusters=products,
    )
    graph = None
    if question.graph is not None:
        graph = Graph(question.graph.arrows, TREATMENT, OUTCOME, question.graph.latent)
    design = Design("continuous", is_randomised=question.is_randomised, unrecorded=question.unrecorded, graph=graph)
    shape = Shape(
        link="log",
        levels=(products, categories * (int(weeks.max()) + 1) + weeks),
        level_names=LEVELS,
        beside=Covariates(tuple(beside), _matrix(columns, beside, len(rows))),
        groups=categories if has_groups else None,
        group_names=names if has_groups else (),
        later=np.log(columns["later_list_price"]) if measure == "list_price" else None,
        is_ratio=measure != "list_price",
    )
    rows = rows.append_column(TREATMENT, pa.array(treatment)).append_column(OUTCOME, pa.array(outcome))
    return ProductStudy(rows, replace(study, shape=shape), design)


def _price_changes(rows: pa.Table, prices: Vector) -> int:
    """How many list prices the products had beside their first."""
    told = pa.table({"product": rows["product_id"], "price": pa.array(prices, from_pandas=True)})
    counted = told.group_by("product").aggregate([("price", "count_distinct")])["price_count_distinct"]
    return int(pc.sum(pc.max_element_wise(pc.subtract(counted, 1), 0)).as_py() or 0)


def _columns(rows: pa.Table, depth: float) -> dict[str, Vector]:
    """The panel's numbers, and what follows from them.

    A week without a line of an order without a coupon is taken to be one without a discount: with a discount it is
    rarer still that nothing is sold.
    """
    numbers = {
        name: rows[name].cast(pa.float64()).to_numpy().copy()
        for name in rows.schema.names
        if name not in {"product_id", "week_start", "category"}
    }
    discount = np.nan_to_num(numbers["discount_share"])
    promoted = discount > LEAST_DISCOUNT
    numbers["is_promoted"] = promoted.astype(np.float64)
    numbers["discount_beyond"] = np.where(promoted, np.log((1 - np.minimum(discount, 0.99)) / (1 - depth)), 0.0)
    numbers["discount_beyond_squared"] = numbers["discount_beyond"] ** 2
    numbers["log_list_price"] = np.log(numbers["list_price"])
    return numbers


def _matrix(columns: dict[str, Vector], names: list[str], rows: int) -> Matrix:
    return np.column_stack([np.empty((rows, 0)), *(columns[name] for name in names)])


def _codes(column: pa.ChunkedArray) -> Labels:
    """The place of each value among the column's, in order."""
    values = np.unique(column.cast(pa.string()).to_numpy(zero_copy_only=False), return_inverse=True)[1]
    return values.astype(np.int64).ravel()


def _latest(rows: pa.Table) -> date:
    latest: date = pc.max(rows["week_start"]).as_py()
    return latest

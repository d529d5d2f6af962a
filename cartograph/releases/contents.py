"""The files of a shop's release: their names and their schemas, which the release asset writes and the API reads.

Both sides share this module so that they cannot drift. How a release is stored is the rest of `cartograph.releases`;
how features, models and effects are computed is `ml_assets`.

| file | content |
|---|---|
| `shop.json` | `ShopCard` |
| `customers.arrow` | Arrow IPC file: one row for each customer, see `write_customers` |
| `models/churn_classifier.onnx` | the model: input `features` float32 [n, k], output `probabilities` [n, 2] |
| `models/churn_classifier.json` | `ModelCard`: the model's features in the order of its input, and its metrics |
| | both are absent where the shop's history is too short for a model |
| `demand.arrow` | Arrow IPC file: one row for each product and day ahead, `DEMAND_COLUMNS`, see `write_products` |
| `models/demand_forecaster.json` | `ModelCard` of what made it |
| `reorder.arrow` | Arrow IPC file: one row for each product whose stock is known, `REORDER_COLUMNS` |
| | the three are absent without a model, and the last one for a shop that counts no stock |
| `effects.json` | `EFFECTS`: a list of `Effect`, empty where the shop has no campaign data |
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

SHOP = "shop.json"
CUSTOMERS = "customers.arrow"
CHURN_MODEL = "models/churn_classifier.onnx"
CHURN_CARD = "models/churn_classifier.json"
DEMAND = "demand.arrow"
DEMAND_CARD = "models/demand_forecaster.json"
REORDER = "reorder.arrow"
EFFECTS_FILE = "effects.json"

ONNX_INPUT = "features"
"""Name of the model's input: one row of float32 for each customer, NaN for null."""
ONNX_OUTPUT = "probabilities"
"""Name of the model's output: the probabilities of [active, churned] for each row."""

CUSTOMER_COLUMNS = {
    "customer_id": pa.string(),
    "as_of": pa.date32(),
    "segment": pa.string(),
    "churn_probability": pa.float64(),
    "churn_model_version": pa.string(),
}
"""Columns of `customers.arrow` that are not features. All but `customer_id` and `as_of` may be null."""

DEMAND_COLUMNS = {
    "product_id": pa.string(),
    "as_of": pa.date32(),
    "date": pa.date32(),
    "mean": pa.float64(),
    "low": pa.float64(),
    "p25": pa.float64(),
    "median": pa.float64(),
    "p75": pa.float64(),
    "high": pa.float64(),
    "model_version": pa.string(),
}
"""Columns of `demand.arrow`, in units; 90 % of such days lie from `low` to `high`. None is null."""

REORDER_COLUMNS = {
    "product_id": pa.string(),
    "as_of": pa.date32(),
    "lead_days": pa.int64(),
    "review_days": pa.int64(),
    "service_level": pa.float64(),
    "expected_demand": pa.float64(),
    "reorder_point": pa.float64(),
    "safety_stock": pa.float64(),
    "stock": pa.float64(),
    "order_quantity": pa.float64(),
    "model_version": pa.string(),
}
"""Columns of `reorder.arrow`; demand is that over lead and review time, in units as all quantities. None is null."""

PRODUCT_FILES = {DEMAND: (DEMAND_COLUMNS, ("product_id", "date")), REORDER: (REORDER_COLUMNS, ("product_id",))}
"""The files about products: their columns, and by which of these they are sorted, each combination once."""


class ContentError(ValueError):
    """A file of a release does not have the form that this module gives it."""


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ShopCard(_Content):
    """`shop.json`: which shop the release is about."""

    name: str
    title: str
    currency: str = Field(pattern=r"^[A-Z]{3}$")


class FeatureSpec(_Content):
    """One input of a model. Values outside `minimum` and `maximum` (inclusive, where given) make no sense."""

    name: str
    type: Literal["bigint", "double", "boolean"]
    description: str
    nullable: bool
    minimum: float | None = None
    maximum: float | None = None


class ModelCard(_Content):
    """`models/<name>.json`: what a model takes and how good it is on its holdout.

    `features` are in the order of the model's input. `metrics` and `baseline_metrics` hold the same measures, of the
    model and of its named baselines as `<baseline>.<measure>` or plain.
    """

    name: str
    version: str
    as_of: date
    features: tuple[FeatureSpec, ...] = Field(min_length=1)
    metrics: dict[str, float]
    baseline_metrics: dict[str, float]

    @model_validator(mode="after")
    def _each_feature_once(self) -> Self:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError(f"each feature must be listed once, got {', '.join(names)}")
        return self


class EffectCheck(_Content):
    """One test of an estimate: overlap, balance, a placebo."""

    name: str
    passed: bool
    detail: str


class Effect(_Content):
    """The answer to one causal question, or why there is none.

    `estimate`, `ci_low` and `ci_high` are in `unit`, the interval at `confidence_level` (0.95 for 95 %); they are None
    where nothing could be estimated. With the verdict `not identified` they are shown as a warning, never to act on.
    """

    question: str
    treatment: str
    outcome: str
    estimand: str
    unit: str
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    confidence_level: float = Field(gt=0, lt=1)
    n_treated: int = Field(ge=0)
    n_control: int = Field(ge=0)
    checks: tuple[EffectCheck, ...]
    verdict: Literal["identified", "not identified"]
    as_of: date
    method: str


EFFECTS = TypeAdapter(tuple[Effect, ...])


def write_customers(path: Path, customers: pa.Table) -> None:
    """Write `customers.arrow`: uncompressed, so that it can be memory-mapped, and sorted by `customer_id` for look-ups.

    `customers` has the columns of `CUSTOMER_COLUMNS` and any number of feature columns, one row for each customer.

    Raises:
        ContentError: a column is missing or of another type, or a customer is there twice or without an id.
    """
    ordered = customers.sort_by("customer_id") if "customer_id" in customers.column_names else customers
    _check_customers(ordered)
    _write(path, ordered)


def open_customers(path: Path) -> pa.Table:
    """Memory-map `customers.arrow`: the table takes no memory but the pages that are read.

    Raises:
        ContentError: it is not an Arrow file, or not of the form that `write_customers` gives.
    """
    customers = _open(path)
    _check_customers(customers)
    return customers


def write_products(folder: Path, name: str, products: pa.Table) -> None:
    """Write the file `name` of `PRODUCT_FILES`, as `write_customers` writes its own.

    Raises:
        ContentError: columns are others than agreed, a value is null, or a row is there twice.
    """
    _, key = PRODUCT_FILES[name]
    known = set(key) <= set(products.column_names)
    ordered = products.sort_by([(column, "ascending") for column in key]) if known else products
    _check_products(name, ordered)
    _write(folder / name, ordered)


def open_products(folder: Path, name: str) -> pa.Table:
    """Memory-map the file `name` of `PRODUCT_FILES`.

    Raises:
        ContentError: it is not an Arrow file, or not of the form that `write_products` gives.
    """
    products = _open(folder / name)
    _check_products(name, products)
    return products


def rename_customers(folder: Path, names: Mapping[str, str]) -> bool:
    """Give customers of a release's files other ids, the new by the old in `names`; whether one of them is there.

    Raises:
        ContentError: `customers.arrow` is damaged, or has a customer of the new id already.
    """
    customers = open_customers(folder / CUSTOMERS)
    ids = customers["customer_id"].to_pylist()
    if names.keys().isdisjoint(ids):
        return False
    renamed = pa.array([names.get(customer, customer) for customer in ids], pa.string())
    aside = folder / f"{CUSTOMERS}.new"  # the old file is mapped into memory while it is read
    write_customers(aside, customers.set_column(customers.column_names.index("customer_id"), "customer_id", renamed))
    aside.replace(folder / CUSTOMERS)
    return True


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _open(path: Path) -> pa.Table:
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowInvalid as error:
        raise ContentError(f"{path.name} is not an Arrow file: {error}") from None


def _check_products(name: str, products: pa.Table) -> None:
    columns, key = PRODUCT_FILES[name]
    if dict(zip(products.schema.names, products.schema.types, strict=True)) != columns:
        raise ContentError(f"{name} must have the columns {', '.join(f'{n} {t}' for n, t in columns.items())}")
    if any(column.null_count for column in products.columns):
        raise ContentError(f"{name} must have no nulls")
    keys = list(zip(*(products[column].to_pylist() for column in key), strict=True))
    if any(one >= other for one, other in pairwise(keys)):
        raise ContentError(f"{name} must be sorted by {' and '.join(key)}, each once")


def _check_customers(customers: pa.Table) -> None:
    for name, kind in CUSTOMER_COLUMNS.items():
        if name not in customers.column_names:
            raise ContentError(f"{CUSTOMERS} needs a column {name}")
        if customers.schema.field(name).type != kind:
            raise ContentError(f"{CUSTOMERS}: {name} must be {kind}, not {customers.schema.field(name).type}")
    ids = customers["customer_id"]
    if ids.null_count or customers["as_of"].null_count:
        raise ContentError(f"{CUSTOMERS}: customer_id and as_of must not be null")
    if not pc.all(pc.less(ids[:-1], ids[1:]), min_count=0).as_py():
        raise ContentError(f"{CUSTOMERS} must be sorted by customer_id, each customer once")

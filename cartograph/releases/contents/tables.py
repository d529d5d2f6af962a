"""Tables by customer or product, as Arrow files that are mapped into memory: their columns, writing and opening."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cartograph.contracts import Pii
from cartograph.releases.contents.base import ContentError
from cartograph.releases.contents.files import DEMAND, REORDER
from cartograph.releases.rows import ROW, row_schema, with_rows

_PERSONAL = b"pii"
"""Key of a field's metadata in an Arrow file: the kind of personal data in that column."""

LISTED = 20
"""A list of recommended or similar products has at most so many."""

CUSTOMER_COLUMNS = {
    "customer_id": pa.string(),
    "as_of": pa.date32(),
    "segment": pa.string(),
    "churn_probability": pa.float64(),
    "churn_model_version": pa.string(),
    "purchase_probability": pa.float64(),
    "propensity_model_version": pa.string(),
    "segment_number": pa.int64(),
    "behaviour_segment": pa.string(),
    "segments_model_version": pa.string(),
    "alive_probability": pa.float64(),
    "expected_orders_365d": pa.float64(),
    "expected_revenue_365d": pa.float64(),
    "lifetime_value_amount": pa.float64(),
    "clv_model_version": pa.string(),
    "next_action": pa.string(),
    "next_action_reason": pa.string(),
    "added_margin_amount": pa.float64(),
    "added_margin_low": pa.float64(),
    "added_margin_high": pa.float64(),
    "uplift_model_version": pa.string(),
    "policies": pa.list_(pa.string()),
}
"""Columns of `customers.arrow` that are not features. All but `customer_id` and `as_of` may be null, and a release
that was made before a column was known does not have it.

`policies` are the names of the released policies that are about the customer: who is in the population of their
question. SQL decides that where the release is made, so that the service need not run any."""

PRODUCT_COLUMNS = {"product_id": pa.string(), "as_of": pa.date32()}
"""Columns of `products.arrow` that are not features."""

RECOMMENDATION_COLUMNS = {
    "customer_id": pa.string(),
    "model_version": pa.string(),
    "product_ids": pa.list_(pa.string()),
    "scores": pa.list_(pa.float64()),
    "sources": pa.list_(pa.string()),
    "because_product_ids": pa.list_(pa.string()),
}
"""Columns of `recommendations.arrow`: the lists have an entry for each product that is recommended, the best first."""

PREDICTION_COLUMNS = {
    "customer_id": pa.string(),
    "models": pa.list_(pa.string()),
    "model_versions": pa.list_(pa.string()),
    "probabilities": pa.list_(pa.float64()),
}
"""Columns of `predictions.arrow`: the lists have an entry for each of the shop's own models that has a prediction."""

SIMILAR_COLUMNS = {
    "product_id": pa.string(),
    "model_version": pa.string(),
    "similar_product_ids": pa.list_(pa.string()),
    "similar_scores": pa.list_(pa.float64()),
    "similar_sources": pa.list_(pa.string()),
    "bought_together_product_ids": pa.list_(pa.string()),
    "bought_together_scores": pa.list_(pa.float64()),
}
"""Columns of `similar_products.arrow`: products that its purchase leads to, and those often in the same order."""

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

DEMAND_REASON_COLUMNS = {
    "product_id": pa.string(),
    "model_version": pa.string(),
    "base_value": pa.float64(),
    "features": pa.list_(pa.string()),
    "values": pa.list_(pa.float64()),
    "contributions": pa.list_(pa.float64()),
}
"""Columns of `demand_explanations.arrow`: the lists have an entry for each feature. With `base_value` the contributions
add up to the logarithm of the mean units, averaged over the first week; a value is null where it is not known."""

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


def write_customers(path: Path, customers: pa.Table) -> None:
    """Write `customers.arrow`: uncompressed, so that it can be memory-mapped, and sorted by `customer_id` for look-ups.

    Each row is there once more, for `rows.StoredRows`. `customers` has the columns of `CUSTOMER_COLUMNS` and any number
    of feature columns, one row for each customer.

    Raises:
        ContentError: a column is missing or of another type, or a customer is there twice or without an id.
    """
    _write_features(path, customers, CUSTOMER_COLUMNS)


def open_customers(path: Path) -> pa.Table:
    """Memory-map `customers.arrow`: the table takes no memory but the pages that are read.

    Raises:
        ContentError: it is not an Arrow file, or not of the form that `write_customers` gives.
    """
    customers = open_table(path)
    known = {"customer_id", "as_of", *customers.column_names}
    _check_features(path.name, customers, {name: kind for name, kind in CUSTOMER_COLUMNS.items() if name in known})
    return customers


def write_product_features(path: Path, products: pa.Table) -> None:
    """Write `products.arrow`, as `write_customers` writes its own: sorted by `product_id`, one row for each product.

    Raises:
        ContentError: a column of `PRODUCT_COLUMNS` is missing or of another type, or a product is there twice or
            without an id.
    """
    _write_features(path, products, PRODUCT_COLUMNS)


def open_product_features(path: Path) -> pa.Table:
    """Memory-map `products.arrow`.

    Raises:
        ContentError: it is not an Arrow file, or not of the form that `write_product_features` gives.
    """
    products = open_table(path)
    _check_features(path.name, products, PRODUCT_COLUMNS)
    return products


def mark_personal(customers: pa.Table, kinds: Mapping[str, Pii]) -> pa.Table:
    """`customers` with those of its columns marked that are personal data, of the kinds `kinds`: the API masks them."""
    fields = [
        field.with_metadata({**(field.metadata or {}), _PERSONAL: kinds[field.name].encode()})
        if field.name in kinds
        else field
        for field in customers.schema
    ]
    return customers.cast(pa.schema(fields))


def personal_columns(path: Path) -> dict[str, str]:
    """The columns of the table at `path` that `mark_personal` marked, with the kind of data that each holds.

    Raises:
        ContentError: it is not an Arrow file.
    """
    marked = {field.name: (field.metadata or {}).get(_PERSONAL) for field in open_table(path).schema}
    return {name: kind.decode() for name, kind in marked.items() if kind is not None}


def write_lists(path: Path, lists: pa.Table, columns: Mapping[str, pa.DataType]) -> None:
    """Write the file of lists `path`, e.g. `recommendations.arrow`, as `write_customers` writes its own.

    It is sorted by the first of its `columns`.

    Raises:
        ContentError: it has other columns, or an id is there twice or missing.
    """
    key = next(iter(columns))
    ordered = lists.sort_by(key) if key in lists.column_names else lists
    _check_lists(path.name, ordered, columns)
    _write_rows(path, ordered)


def open_lists(path: Path, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Memory-map what `write_lists` wrote.

    Raises:
        ContentError: it is not an Arrow file, or not of the form that `write_lists` gives.
    """
    lists = open_table(path)
    _check_lists(path.name, lists, columns)
    return lists


def write_products(folder: Path, name: str, products: pa.Table) -> None:
    """Write the file `name` of `PRODUCT_FILES`, as `write_customers` writes its own.

    Raises:
        ContentError: columns are others than agreed, a value is null, or a row is there twice.
    """
    _, key = PRODUCT_FILES[name]
    known = set(key) <= set(products.column_names)
    ordered = products.sort_by([(column, "ascending") for column in key]) if known else products
    _check_products(name, ordered)
    write_table(folder / name, ordered)


def open_products(folder: Path, name: str) -> pa.Table:
    """Memory-map the file `name` of `PRODUCT_FILES`.

    Raises:
        ContentError: it is not an Arrow file, or not of the form that `write_products` gives.
    """
    products = open_table(folder / name)
    _check_products(name, products)
    return products


def write_table(path: Path, rows: pa.Table) -> None:
    """Write an Arrow file, uncompressed."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)


def _write_features(path: Path, rows: pa.Table, columns: Mapping[str, pa.DataType]) -> None:
    key = next(iter(columns))
    ordered = rows.sort_by(key) if key in rows.column_names else rows
    _check_features(path.name, ordered, columns)
    _write_rows(path, ordered)


def _write_rows(path: Path, rows: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, row_schema(rows.schema)) as writer:
        for batch in with_rows(rows):
            writer.write_batch(batch)


def open_table(path: Path) -> pa.Table:
    """Memory-map an Arrow file, without the column of its rows as JSON.

    Raises:
        ContentError: it is none.
    """
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowInvalid as error:
        raise ContentError(f"{path.name} is not an Arrow file: {error}") from None
    return table.drop_columns(ROW) if ROW in table.column_names else table


def _check_lists(name: str, lists: pa.Table, columns: Mapping[str, pa.DataType]) -> None:
    found = dict(zip(lists.schema.names, lists.schema.types, strict=True))
    if found != dict(columns):
        raise ContentError(f"{name} must have the columns {dict(columns)}, not {found}")
    _check_ids(name, lists, next(iter(columns)))


def _check_products(name: str, products: pa.Table) -> None:
    columns, key = PRODUCT_FILES[name]
    if dict(zip(products.schema.names, products.schema.types, strict=True)) != columns:
        raise ContentError(f"{name} must have the columns {', '.join(f'{n} {t}' for n, t in columns.items())}")
    if any(column.null_count for column in products.columns):
        raise ContentError(f"{name} must have no nulls")
    keys = list(zip(*(products[column].to_pylist() for column in key), strict=True))
    if any(one >= other for one, other in pairwise(keys)):
        raise ContentError(f"{name} must be sorted by {' and '.join(key)}, each once")


def _check_features(file: str, rows: pa.Table, columns: Mapping[str, pa.DataType]) -> None:
    for name, wanted in columns.items():
        if name not in rows.column_names:
            raise ContentError(f"{file} needs a column {name}")
        found = rows.schema.field(name).type
        if found != wanted:
            raise ContentError(f"{file}: {name} must be {wanted}, not {found}")
    if rows["as_of"].null_count:
        raise ContentError(f"{file}: as_of must not be null")
    _check_ids(file, rows, next(iter(columns)))


def _check_ids(name: str, rows: pa.Table, key: str) -> None:
    ids = rows[key]
    if ids.null_count:
        raise ContentError(f"{name}: {key} must not be null")
    if not pc.all(pc.less(ids[:-1], ids[1:]), min_count=0).as_py():
        raise ContentError(f"{name} must be sorted by {key}, each {key.removesuffix('_id')} once")

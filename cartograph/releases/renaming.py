"""Other ids for customers in the files of a release, as when one is erased."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa

from cartograph.releases.contents.files import CUSTOMERS, GOLDEN, ORDER_HISTORY, OWN_PREDICTIONS, RECOMMENDATIONS
from cartograph.releases.contents.golden import Golden
from cartograph.releases.contents.tables import (
    PREDICTION_COLUMNS,
    RECOMMENDATION_COLUMNS,
    open_customers,
    open_lists,
    write_customers,
    write_lists,
)
from cartograph.releases.order_history import rename_in_history


def rename_customers(folder: Path, names: Mapping[str, str]) -> bool:
    """Give customers of a release's files other ids, the new by the old in `names`; whether one of them is there.

    Raises:
        ContentError: a file is damaged, or has a customer of the new id already.
    """
    renamed = _rename(folder / CUSTOMERS, open_customers(folder / CUSTOMERS), names, write_customers)
    for name, columns in ((RECOMMENDATIONS, RECOMMENDATION_COLUMNS), (OWN_PREDICTIONS, PREDICTION_COLUMNS)):
        listed = folder / name
        if listed.is_file():
            renamed |= _rename(listed, open_lists(listed, columns), names, partial(write_lists, columns=columns))
    golden = folder / GOLDEN
    if renamed and golden.is_file():
        golden.write_text(
            Golden.model_validate_json(golden.read_bytes()).renamed(names).model_dump_json(indent=2), encoding="utf-8"
        )
    if (folder / ORDER_HISTORY).is_file():
        renamed |= rename_in_history(folder / ORDER_HISTORY, names)
    return renamed


def _rename(path: Path, rows: pa.Table, names: Mapping[str, str], write: Callable[[Path, pa.Table], None]) -> bool:
    ids = rows["customer_id"].to_pylist()
    if names.keys().isdisjoint(ids):
        return False
    renamed = pa.array([names.get(customer, customer) for customer in ids], pa.string())
    aside = path.with_name(f"{path.name}.new")  # the old file is mapped into memory while it is read
    write(aside, rows.set_column(rows.column_names.index("customer_id"), "customer_id", renamed))
    aside.replace(path)
    return True

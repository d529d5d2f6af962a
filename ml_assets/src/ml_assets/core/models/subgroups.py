"""Subgroups of customers: those for whom a model must not be much worse, and how good it is for each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from ml_assets.core.evaluation.promotion import FEWEST_ROWS, Mask
from ml_assets.core.models.report import Group

TENURES = (90, 365)
"""Where the first order's age in days splits new customers, those of the first year, and old ones."""


def groups(rows: pa.Table) -> dict[str, Mask]:
    """The subgroups of feature rows that a new model must not do much worse for: by tenure, loyalty tier and opt-in."""
    tenure = rows["tenure_days"].cast(pa.float64()).to_numpy()
    young, old = TENURES
    found: dict[str, Mask] = {
        f"the first order is less than {young} days old": tenure < young,
        f"the first order is {young} to {old} days old": (tenure >= young) & (tenure <= old),
        f"the first order is more than {old} days old": tenure > old,
    }
    for name in ("loyalty_rank", "email_opt_in"):
        values = rows[name].cast(pa.float64()).to_numpy()
        found |= {f"{name} is {value:g}": values == value for value in np.unique(values[~np.isnan(values)])}
    return found


def told(masks: Mapping[str, Mask], figures: Callable[[Mask], dict[str, float]]) -> tuple[Group, ...]:
    """What `figures` gives for each subgroup that has FEWEST_ROWS rows."""
    return tuple(
        Group(name=name, rows=int(mask.sum()), figures=figures(mask))
        for name, mask in masks.items()
        if mask.sum() >= FEWEST_ROWS
    )

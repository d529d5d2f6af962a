"""Helpers of the tests of experiments: units with planted effects, and files of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from ml_assets.core.experiments.decision import Frame
from ml_assets.core.experiments.plan import Measured, Units

FRAME = Frame("planted", "A planted experiment.", "complete", None, None, None)
NAMES = ("control", "treatment")


def make_units(
    size: int = 8000, *, effects: tuple[float, ...] = (0.0,), seed: int = 1, segments: Mapping[str, Any] | None = None
) -> Units:
    """Units of a control and a variant for each of `effects`, with a mean of 10, a ratio of 5 and a conversion of 10 %.

    `spend` has a covariate of correlation 0.8.
    """
    draw = np.random.default_rng(seed)
    variant = draw.integers(0, 1 + len(effects), size)
    added = np.array([0.0, *effects])[variant]
    before = draw.normal(size=size)
    spend = 10 + 2 * (0.8 * before + 0.6 * draw.normal(size=size)) + added
    orders = 1.0 + draw.poisson(1, size)
    return Units(
        ("control", *(f"treatment_{at}" if len(effects) > 1 else "treatment" for at in range(1, 1 + len(effects)))),
        variant,
        {
            "spend": Measured(spend, None, before[:, None]),
            "order_value": Measured(orders * draw.gamma(5, 1, size), orders),
            "converted": Measured((draw.random(size) < 0.1).astype(np.float64)),
        },
        segments or {},
    )


def write(path: Path, columns: Mapping[str, Any]) -> Path:
    """A CSV or Parquet file of columns."""
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    with duckdb.connect() as con:
        con.register("given", table)
        kind = "(FORMAT parquet)" if path.suffix == ".parquet" else "(HEADER)"
        con.execute(f"COPY given TO '{path}' {kind}")
    return path

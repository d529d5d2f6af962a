"""Shops of one dataset, day by day, whose figures a test can choose."""

from __future__ import annotations

from datetime import date

import numpy as np

from ecom_assets.quality.profile import Floats, Ints, Mix, Profile

FIRST = date(2024, 1, 1)
DAYS = 120


def steady_rows(per_day: int = 100, *, seed: int = 1, days: int = DAYS) -> Ints:
    """Poisson rows of a shop that is twice as busy at the weekend; `FIRST` is a Monday."""
    weekly = np.array([1, 1, 1, 1, 1, 2, 2])[np.arange(days) % 7]
    rows: Ints = np.random.default_rng(seed).poisson(per_day * weekly).astype(np.int64)
    return rows


def figures(
    rows: Ints,
    *,
    nulls: dict[str, Ints] | None = None,
    sizes: dict[str, Floats] | None = None,
    mixes: dict[str, Ints] | None = None,
    rare: dict[tuple[str, str], Ints] | None = None,
    copies: Ints | None = None,
) -> Profile:
    """A profile of those figures."""
    made = {
        name: Mix(counts, tuple(f"bin {n}" for n in range(counts.shape[1]))) for name, counts in (mixes or {}).items()
    }
    numbers = {name: np.where(np.isnan(each[:, 0]), 0, rows) for name, each in (sizes or {}).items()}
    copied = np.zeros_like(rows) if copies is None else copies
    return Profile(FIRST, rows, nulls or {}, numbers, sizes or {}, made, rare or {}, copied)

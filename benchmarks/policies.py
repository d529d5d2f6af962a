"""What is a learned policy worth beside that of one who knows the effect on each customer? Prints JSON.

Studies are drawn with confounding and a known effect for each row: in steps, in a slope, and the same for all at less
than the cost, where nobody must be treated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_assets.core.causal.decisions import treats
from ml_assets.core.causal.policy import learn_policy
from ml_assets.core.causal.study import Covariates, Design, Study

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

NAMES = ("recency", "orders", "visits")
COST = 1.5
EFFECTS: dict[str, Callable[[Matrix], Vector]] = {
    "steps": lambda x: 4.0 * (x[:, 0] > 0.3) - 1.0 * (x[:, 1] < 0),
    "slope": lambda x: 1.5 + 2.0 * x[:, 0],
    "two slopes": lambda x: 1.5 + 1.5 * x[:, 0] + 1.0 * x[:, 1],
    "below the cost": lambda x: 0.9 + 0.4 * np.tanh(x[:, 0]),
}


def drawn(effect: Callable[[Matrix], Vector], seed: int, rows: int) -> tuple[Study, Vector]:
    """A study of which the treatment depends on a confounder, and the effect on each row."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, len(NAMES)))
    treated = (draw.uniform(size=rows) < 1 / (1 + np.exp(-0.6 * x[:, 1]))).astype(np.float64)
    gains = effect(x)
    outcome = 2 * x[:, 1] + x[:, 0] + treated * gains + 2 * draw.normal(size=rows)
    covariates = Covariates(NAMES, x)
    return Study(treated, outcome, covariates, covariates), gains


def measured(effect: Callable[[Matrix], Vector], seed: int, rows: int) -> dict[str, Any]:
    """What the policy of one study decides, and its true value over the oracle's."""
    study, gains = drawn(effect, seed, rows)
    rule = learn_policy(study, Design(), COST, 1.0).rule
    columns = [NAMES.index(feature.name) for feature in rule.features]
    value = float((treats(rule, study.modifiers.values[:, columns]) * (gains - COST)).mean())
    best = float(np.maximum(gains - COST, 0).mean())
    return {
        "kind": rule.kind,
        "part": value / best if best else None,
        "covers": rule.value.low <= value <= rule.value.high,
    }


def main() -> None:
    """Print a line for each kind of effect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=4_000)
    chosen = parser.parse_args()
    for name, effect in EFFECTS.items():
        found = [measured(effect, seed, chosen.rows) for seed in range(chosen.seeds)]
        parts = [one["part"] for one in found if one["part"] is not None]
        kinds = {kind: sum(one["kind"] == kind for one in found) for kind in ("tree", "treat all", "treat none")}
        told: dict[str, Any] = {"benchmark": "policies", "effect": name, "rows": chosen.rows, "cost": COST, **kinds}
        if parts:
            told["mean_part_of_oracle"] = float(np.mean(parts))
            told["reach_95_percent"] = float(np.mean(np.array(parts) >= 0.95))
        told["intervals_cover"] = float(np.mean([one["covers"] for one in found]))
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()

"""What a reader has to know of an answer: that it hangs on one row, or one cluster, and that it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml_assets.core.causal.assess import assess
from ml_assets.core.causal.caveats import of_one_unit
from ml_assets.core.causal.effect import SMOOTH
from ml_assets.core.causal.study import Covariates, Design, Study

ROWS = 900
ONE = "hangs on one"


def study(kind: str) -> Study:
    draw = np.random.default_rng(4)
    known = draw.normal(size=(ROWS, 2))
    wish = known[:, 0] / 2 + draw.normal(size=ROWS)
    treatment = wish if kind == "continuous" else (wish > 0).astype(float)
    return Study(treatment, treatment + known[:, 0] + draw.normal(size=ROWS), Covariates(("a", "b"), known))


@pytest.mark.parametrize("kind", ["binary", "continuous"])
@pytest.mark.parametrize("per_cluster", [1, 3])
def test_an_outcome_that_is_a_mistake_is_told_and_others_are_not(kind, per_cluster):
    sound = study(kind)
    if per_cluster > 1:
        sound = replace(sound, clusters=np.arange(ROWS) // per_cluster)
    wrong = sound.outcome.copy()
    wrong[np.argmax(np.abs(sound.confounders.values[:, 0]) < 0.1)] = 1e4
    quiet, loud = (assess(one, Design(kind=kind), SMOOTH).warnings for one in (sound, replace(sound, outcome=wrong)))
    assert not any(ONE in told for told in quiet)
    (told,) = (told for told in loud if ONE in told)
    assert told.startswith(f"The estimate hangs on one {'row' if per_cluster == 1 else 'cluster'}, which has ")


def test_rows_of_a_cluster_count_together_and_may_cancel():
    influence = np.array([3.0, -3.0, 1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 1.0, -1.0, 1.0, -1.0])
    together = np.array([0, 0, *range(1, 13)])
    assert "one row, which has 30% of its variance" in next(of_one_unit(influence, None))
    assert not list(of_one_unit(influence, together))
    assert "one cluster, which has 75%" in next(of_one_unit(np.abs(influence), together))

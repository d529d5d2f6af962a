"""LaLonde's job training: the experiment's effect is found with controls that were in no experiment.

LALONDE_FILES names the folder of `nsw_mixtape.csv` and `cps_mixtape.csv` (Dehejia and Wahba's samples);
without it there is nothing to test. The experiment says 1,794 dollars, the naive difference with CPS controls -8,498.
"""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import numpy as np
import pytest

from ml_assets.core.causal.levels import assess_levels
from ml_assets.core.causal.study import Covariates, Design, Study

FILES = os.environ.get("LALONDE_FILES", "")
EXPERIMENT, NAIVE = 1794, -8498
COVARIATES = ("age", "educ", "black", "hisp", "marr", "nodegree", "re74", "re75")

pytestmark = pytest.mark.skipif(not FILES, reason="LALONDE_FILES does not name the folder with LaLonde's data")


def study(*, is_experiment: bool) -> Study:
    nsw, cps = (f"FROM read_csv('{Path(FILES) / name}_mixtape.csv')" for name in ("nsw", "cps"))
    rows = duckdb.sql(nsw if is_experiment else f"{nsw} WHERE treat = 1 UNION ALL {cps}").fetchnumpy()
    columns = np.column_stack([rows[name] for name in COVARIATES]).astype(float)
    return Study(rows["treat"].astype(float), rows["re78"].astype(float), Covariates(COVARIATES, columns))


def test_the_experiment_alone_gives_its_effect():
    found = assess_levels(study(is_experiment=True), Design(is_randomised=True))
    assert found.identified, [gate for gate in found.gates if not gate.passed]
    assert round(found.naive.ate) == EXPERIMENT
    assert found.effect.holds(EXPERIMENT)
    assert found.trimmed_share < 0.05


@pytest.mark.parametrize("seed", [17, 1, 2, 3])
def test_the_effect_on_the_treated_is_found_with_controls_of_another_survey(seed):
    found = assess_levels(study(is_experiment=False), Design(estimand="ATT"), seed=seed)
    assert found.identified, [gate for gate in found.gates if not gate.passed]
    assert round(found.naive.ate) == NAIVE
    for named in found.estimates:
        assert named.estimate.holds(EXPERIMENT)
        assert named.estimate.low > 0
    assert found.trimmed_share > 0.5
    assert "were left out" in found.warnings[0]


def test_without_trimming_it_is_refused():
    found = assess_levels(study(is_experiment=False), Design(estimand="ATT", trims=False))
    assert found.verdict == "not identified"
    assert "none were left out" in found.gate("overlap").detail


def test_the_effect_on_all_is_refused_with_the_cure():
    found = assess_levels(study(is_experiment=False), Design())
    assert found.verdict == "not identified"
    assert "ask for the effect on the treated" in found.gate("overlap").detail

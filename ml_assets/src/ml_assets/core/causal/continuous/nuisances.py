"""What outcome and treatment are predicted with, for rows that the models have not seen.

What is predicted, and what is made of what is left, is the business of `double_machine_learning`. The nuisances of a
treatment of few levels are in `ml_assets.core.causal.effect`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ml_assets.core.causal.effect import FOLDS, SEED
from ml_assets.core.causal.study import Labels, Matrix, Vector

KNOTS = 5


def predicted(features: Matrix, targets: Matrix, weights: Vector, clusters: Labels | None) -> Matrix:
    """Each target's prediction for each row by models that have not seen the row's cluster.

    Ridge regressions on splines and on products, and boosted trees: the predictions of each for unseen rows are mixed
    with the weights, none negative, that fit the target best ("short-stacking": Ahrens, Hansen, Schaffer and Wiemann
    2025, Journal of Applied Econometrics 40). Trees alone miss a planted elasticity (-1.93 [-1.97, -1.90] for -2).
    """
    from scipy.optimize import nnls

    root = np.sqrt(weights)
    found = np.zeros_like(targets)
    folds = list(folds_of(features, clusters))
    for column, target in enumerate(targets.T):
        models = [make for make, most in MODELS.items() if features.shape[1] <= most]
        told = np.zeros((len(target), len(models)))
        for place, make in enumerate(models):
            for known, rest in folds:
                model = make()
                model.fit(features[known], target[known], **{f"{model.steps[-1][0]}__sample_weight": weights[known]})
                told[rest, place] = model.predict(features[rest])
        found[:, column] = told @ nnls(told * root[:, None], target * root)[0]
    return found


def folds_of(features: Matrix, clusters: Labels | None) -> Any:
    """Pairs of rows that are known and rows that are predicted; those of a cluster stay together."""
    from sklearn.model_selection import GroupKFold, KFold

    if clusters is None:
        return KFold(FOLDS, shuffle=True, random_state=SEED).split(features)
    return GroupKFold(FOLDS, shuffle=True, random_state=SEED).split(features, groups=clusters)


def _splines() -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import SplineTransformer

    return make_pipeline(SplineTransformer(n_knots=KNOTS, degree=3), Ridge(1.0))


def _products() -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    return make_pipeline(PolynomialFeatures(2, include_bias=False), Ridge(1.0))


def _spline_products() -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, SplineTransformer

    crossed = PolynomialFeatures(2, interaction_only=True, include_bias=False)
    return make_pipeline(SplineTransformer(n_knots=KNOTS, degree=3), crossed, Ridge(1.0))


def _trees() -> Any:
    """LightGBM: scikit-learn's boosting took 2 s to bin four weighted columns of 1,300 rows."""
    from lightgbm import LGBMRegressor
    from sklearn.pipeline import make_pipeline

    return make_pipeline(
        LGBMRegressor(
            n_estimators=40, learning_rate=0.1, num_leaves=8, min_child_samples=40, n_jobs=1, random_state=SEED,
            deterministic=True, force_row_wise=True, verbose=-1,
        )
    )  # fmt: skip


MODELS: dict[Callable[[], Any], float] = {_splines: np.inf, _products: 12, _spline_products: 4, _trees: np.inf}
"""What outcome and treatment are predicted with, and for how many columns at most: of more, products are thousands."""

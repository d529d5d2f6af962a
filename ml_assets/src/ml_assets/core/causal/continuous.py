"""The effect of one more unit of a treatment that is an amount, with its 95 % interval, and whether to believe it.

Two estimators of different families: partially linear double machine learning (the answer) and a regression (must
agree). The outcome depends on the treatment by a straight line, or by a `log` link as units on a price do; rows may
have levels, such as those of products and weeks. A treatment of few levels is the business of `effect`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from ml_assets.core.causal.caveats import TAKEN_FOR_RANDOM, of_choice
from ml_assets.core.causal.effect import prepared
from ml_assets.core.causal.finding import (
    CONFIDENCE,
    Balance,
    Estimate,
    Finding,
    Gate,
    NamedEstimate,
    Propensities,
    Sensitivity,
)
from ml_assets.core.causal.gates import ASSIGNMENT_ERRORS
from ml_assets.core.causal.graph import Identification, identify
from ml_assets.core.causal.study import Covariates, Design, Labels, Matrix, Rows, Study, Vector, column_of
from ml_assets.core.causal.within import (
    Fit,
    Levels,
    NotEstimable,
    by_cluster,
    estimable,
    least_squares,
    poisson,
)

SEED = 17
FOLDS = 3
KNOTS = 5
FURTHEST = 4.0
"""Standard deviations to which covariates are drawn in: splines have no support beyond."""
FEWEST_ROWS, FEWEST_CLUSTERS = 200, 10
LEAST_LEFT = 0.02
"""The share of the treatment's variance that confounders and levels must leave."""
LEAST_EFFECTIVE = 50.0
"""Rows that what is left must be spread over, by Kish's formula."""
LARGEST_CORRELATION = 0.1
PLACEBO_DRAWS = 40
LARGEST_TOLD = 0.05
"""The share of a random treatment's variance that what is recorded may seem to tell."""
MOST_FALSE = 0.2
"""The share of placebo treatments whose 95 % interval may miss 0: of 40 draws more are one in 10,000."""
HALVES = 5
MOVED_ERRORS = 1.0
STRICT = 0.01
"""The chance that a refutation refuses what is true: there are several."""
DML, REGRESSION, RIESZ = "double machine learning", "regression with levels", "average derivative"


NOTHING = Covariates()


@dataclass(frozen=True)
class Shape:
    """How the outcome follows the treatment, where that is more than one straight line.

    With the link `log` the mean of the outcome is exponential in the treatment, and an effect is that on its logarithm:
    of a logarithm of a price, the elasticity. `levels` group rows that share an unknown level, and are called
    `level_names` in a graph. `beside` is what was set
    along with the treatment (the depth of a discount beside there being one) and is held fixed by a straight line.
    `groups` numbers the parts with an effect of their own, whose names are `group_names`: the answer is then their mean
    weighted by the outcome. `later` is the treatment of a later time, NaN for unknown. As a `ratio`, an effect on the
    logarithm is told as the outcome's relative change.
    """

    link: Literal["identity", "log"] = "identity"
    levels: tuple[Labels, ...] = ()
    level_names: tuple[str, ...] = ()
    beside: Covariates = NOTHING
    groups: Labels | None = None
    group_names: tuple[str, ...] = ()
    later: Vector | None = None
    is_ratio: bool = False

    def of(self, rows: Rows) -> Shape:
        """That of some of the rows."""
        return replace(
            self,
            levels=tuple(grouping[rows] for grouping in self.levels),
            beside=self.beside.of(rows),
            groups=None if self.groups is None else self.groups[rows],
            later=None if self.later is None else self.later[rows],
        )


STRAIGHT = Shape()


@dataclass(frozen=True)
class ShapedStudy(Study):
    """A study whose outcome follows the treatment by more than one straight line."""

    shape: Shape = STRAIGHT

    def of(self, rows: Rows) -> ShapedStudy:
        """Some of the rows."""
        some = super().of(rows)
        return ShapedStudy(**{f.name: getattr(some, f.name) for f in fields(some)}, shape=self.shape.of(rows))


ONE_MORE = "one more unit"


class _Data(NamedTuple):
    """Rows that are in the estimate: `columns` are the treatment and what was set beside it."""

    outcome: Vector
    columns: Matrix
    confounders: Matrix
    blocks: tuple[str, ...]
    """The recorded column that each column of `confounders` comes from."""
    groups: Labels
    names: tuple[str, ...]
    clusters: Labels | None
    groupings: tuple[Labels, ...]
    later: Vector | None
    rows: Any
    """Their places in the study."""

    @property
    def levels(self) -> Levels:
        return Levels(len(self.outcome), *(self.groupings or (self.groups,)))

    def of(self, rows: Any) -> _Data:
        """Some of the rows."""
        return _Data(
            self.outcome[rows],
            self.columns[rows],
            self.confounders[rows],
            self.blocks,
            self.groups[rows],
            self.names,
            None if self.clusters is None else self.clusters[rows],
            tuple(grouping[rows] for grouping in self.groupings),
            None if self.later is None else self.later[rows],
            self.rows[rows],
        )


class _Left(NamedTuple):
    """What predictions for unseen rows leave of the outcome, of the treatment and of what was set beside it."""

    outcome: Vector
    columns: Matrix
    weights: Vector
    confounders: Matrix
    treatment: Vector
    """The treatment, with levels taken out only."""


class _Parts(NamedTuple):
    """An effect for each group with its standard error and degrees of freedom, and the group's weight in the mean."""

    effects: Vector
    errors: Vector
    freedom: Vector
    weights: Vector


def assess_continuous(study: Study, design: Design) -> Finding:
    """Estimate the effect of one more unit of the treatment, and try to refute it.

    Rows of the study that no estimate can use (of a unit that never sold anything) are left out, and counted as
    trimmed.

    Raises:
        GraphError: the graph of `design` cannot be used.
        ValueError: treatment or outcome have gaps.
    """
    shape = _shape_of(study)
    moved, still = int((study.treatment != 0).sum()), int((study.treatment == 0).sum())
    if refused := _too_few(study):
        return Finding(None, (), (refused,), moved, still)
    study, back = _back_door(study, design, shape)
    try:
        data, pilot, fits = _fitted(_data(study, shape), shape)
        plain = _told(_naive(data, shape), shape)
        left = _left(data, shape, pilot)
    except NotEstimable as reason:
        gate = Gate("overlap", False, 0.0, f"the effect cannot be told from what is held fixed: {reason}")
        return Finding(None, (), (back, gate), moved, still)
    trimmed = float(1 - len(data.outcome) / len(study))
    positivity = _positivity(left, data)
    if not positivity.passed:
        return Finding(plain[-1], (), (back, positivity), moved, still, trimmed)
    first = _final(left, data)._replace(weights=_weights(data, shape.link))
    has_regression = bool(data.groupings) or shape.link == "log" or len(data.names) > 1
    second = fits if has_regression else _average_derivative(data)
    answer, other = _told(first, shape), _told(second, shape)
    balances = _balances(study, left, data)
    door = _choice(left, data, design, back)
    gates = (
        door,
        positivity,
        _balance(balances),
        _agreement(answer[-1], other[-1]),
        _random_treatment(left, data, first),
        _noise(data, shape, fits),
        _subsets(left, data),
        *([] if data.later is None else [_later(data.later, data, shape)]),
        *([] if not study.placebo_outcomes else [_negative_controls(study, data, shape)]),
    )
    methods = DML, REGRESSION if has_regression else RIESZ
    contrasts = [*(data.names if len(data.names) > 1 else ()), ONE_MORE]
    estimates = [
        NamedEstimate(method, contrast, told)
        for contrast, *both in reversed(
            list(zip(contrasts, answer[-len(contrasts) :], other[-len(contrasts) :], strict=True))
        )
        for method, told in zip(methods, both, strict=True)
    ]
    strength, has_placebo = _sensitivity(left, data), bool(study.placebo_outcomes) or data.later is not None
    return Finding(
        plain[-1],
        tuple(estimates),
        gates,
        moved,
        still,
        trimmed,
        balances,
        _histogram(left),
        strength,
        warnings=(
            *([f"{trimmed:.1%} of the rows were left out, as no estimate can use them."] if trimmed else []),
            *of_choice(design, door, has_placebo, estimates[0].estimate, strength),
        ),
    )


def _too_few(study: Study) -> Gate | None:
    for name, values in (("treatment", study.treatment), ("outcome", study.outcome)):
        if not np.isfinite(values).all():
            gaps = int((~np.isfinite(values)).sum())
            raise ValueError(f"The {name} is no number in {gaps} of {len(study)} rows. Leave these rows out.")
    clusters = len(study) if study.clusters is None else len(np.unique(study.clusters))
    if len(study) >= FEWEST_ROWS and clusters >= FEWEST_CLUSTERS:
        return None
    needs = f"{FEWEST_ROWS} rows in {FEWEST_CLUSTERS} clusters are needed"
    return Gate("arm_sizes", False, float(len(study)), f"{len(study)} rows in {clusters} clusters, and {needs}")


def _back_door(study: Study, design: Design, shape: Shape) -> tuple[Study, Gate]:
    """Whether what is held fixed makes the comparison fair, and the study with the confounders that do."""
    if design.unrecorded:
        detail = f"the treatment was also chosen by what is not recorded: {', '.join(design.unrecorded)}"
        return study, Gate("back_door", False, 0.0, detail)
    held, found = _kept(study, design, shape)
    if found is None:
        return study, _held(held, design) or Gate(
            "back_door", True, 1.0, f"declared as chosen by what is held fixed: {', '.join(held) or 'nothing'}"
        )
    if found.adjustment is None:
        return study, Gate("identification", False, 0.0, found.reason)
    kept = study.confounders.only(set(found.adjustment))
    return replace(study, confounders=kept), _held(held, design) or Gate("identification", True, 1.0, found.reason)


def held_of_amount(study: Study, design: Design) -> tuple[str, ...]:
    """The columns and the levels that `assess_continuous` holds fixed; none where the graph says that none suffice.

    Raises:
        GraphError: the graph of `design` cannot be used.
    """
    return _kept(study, design, _shape_of(study))[0]


def _kept(study: Study, design: Design, shape: Shape) -> tuple[tuple[str, ...], Identification | None]:
    """What is held fixed: of a study with a graph the fewest that suffice, and what the graph says."""
    always = (*shape.level_names, *shape.beside.names)
    observed = tuple(dict.fromkeys((*map(column_of, study.confounders.names), *always)))
    if design.graph is None:
        return observed, None
    found = identify(design.graph, design.graph.treatment, design.graph.outcome, observed)
    return () if found.adjustment is None else tuple(dict.fromkeys((*found.adjustment, *always))), found


def _shape_of(study: Study) -> Shape:
    return study.shape if isinstance(study, ShapedStudy) else STRAIGHT


def _held(names: Collection[str], design: Design) -> Gate | None:
    """The gate of a treatment that nothing is held fixed of, and that chance is not declared to have dealt out."""
    if names or design.is_randomised:
        return None
    return Gate("back_door", False, 0.0, "nothing is held fixed, and that chance decided is not declared")


def _data(study: Study, shape: Shape) -> _Data:
    columns = dict.fromkeys(map(column_of, study.confounders.names))
    blocks = {column: prepared(study.confounders.only({column}).values) for column in columns}
    beside = shape.beside.values if shape.beside.names else np.empty((len(study), 0))
    one = np.zeros(len(study), dtype=np.int64)
    return _Data(
        outcome=study.outcome,
        columns=np.column_stack([study.treatment, beside]),
        confounders=np.clip(np.column_stack([np.empty((len(study), 0)), *blocks.values()]), -FURTHEST, FURTHEST),
        blocks=tuple(column for column, block in blocks.items() for _ in range(block.shape[1])),
        groups=one if shape.groups is None else shape.groups,
        names=shape.group_names if shape.groups is not None else ("all",),
        clusters=study.clusters,
        groupings=shape.levels,
        later=shape.later,
        rows=np.arange(len(study)),
    )


def _fitted(data: _Data, shape: Shape) -> tuple[_Data, Fit, _Parts]:
    """The rows of groups that have an estimate, the fit of all of them, and the regression's effects.

    Raises:
        NotEstimable: no group has one.
    """
    if shape.link == "log":
        data = data.of(estimable(data.outcome, data.groups, *data.groupings))
    fits: dict[int, tuple[Any, Fit]] = {}
    reason = NotEstimable("there are no rows")
    for group in np.unique(data.groups):
        mine = np.flatnonzero(data.groups == group)
        try:
            fits[int(group)] = mine, _regressed(data.of(mine), shape.link)
        except NotEstimable as error:
            reason = error
    if not fits:
        raise reason
    rows = np.sort(np.concatenate([mine for mine, _ in fits.values()]))
    mean, predictor = np.zeros(len(data.outcome)), np.zeros(len(data.outcome))
    for mine, fit in fits.values():
        mean[mine], predictor[mine] = fit.mean, fit.predictor
    codes = {group: place for place, group in enumerate(fits)}
    kept = data.of(rows)._replace(
        groups=np.array([codes[group] for group in data.groups[rows].tolist()], dtype=np.int64),
        names=tuple(data.names[group] for group in fits),
    )
    pilot = Fit(np.empty(0), np.empty((0, 0)), 0, mean[rows], predictor[rows])
    return kept, pilot, _joined([fit for _, fit in fits.values()], kept, shape)


def _regressed(data: _Data, link: str, column: int = 0) -> Fit:
    """The regression of the outcome on all columns, with levels; the coefficient of `column` stands first."""
    levels = data.levels
    held = _independent(levels.centred(data.confounders, np.ones(len(data.outcome))))
    order = [column, *(place for place in range(data.columns.shape[1]) if place != column)]
    columns = np.column_stack([data.columns[:, order], data.confounders[:, held]])
    regress = poisson if link == "log" else least_squares
    return regress(data.outcome, columns, levels, data.clusters)


def _independent(columns: Matrix) -> Any:
    """The places of columns that none of the others tells."""
    from scipy.linalg import qr

    if columns.shape[1] == 0:
        return np.empty(0, dtype=np.int64)
    _, triangle, places = qr(columns / np.sqrt(len(columns)), mode="economic", pivoting=True)
    return np.sort(places[np.abs(np.diag(triangle)) > 1e-5])


def _joined(fits: list[Fit], data: _Data, shape: Shape) -> _Parts:
    """The first coefficient of each group's fit."""
    return _Parts(
        effects=np.array([fit.coefficients[0] for fit in fits]),
        errors=np.sqrt([fit.covariance[0, 0] for fit in fits]),
        freedom=np.array([fit.clusters - 1.0 for fit in fits]),
        weights=_weights(data, shape.link),
    )


def _weights(data: _Data, link: str = "identity") -> Vector:
    """Each group's part of the rows, or with a log link of the outcome."""
    amounts = np.bincount(data.groups, weights=data.outcome if link == "log" else None, minlength=len(data.names))
    shares: Vector = amounts / amounts.sum()
    return shares


def _told(parts: _Parts, shape: Shape) -> list[Estimate]:
    """The effect of each group and, last, their mean; a ratio as the relative change of the outcome."""
    from scipy.stats import t

    weights = parts.weights
    if shape.is_ratio:
        factors = weights * np.exp(parts.effects)
        mean, weights = float(np.log(factors.sum())), factors / factors.sum()
    else:
        mean = float(weights @ parts.effects)
    effects = [*parts.effects, mean]
    errors = [*parts.errors, float(np.sqrt(weights**2 @ parts.errors**2))]
    told = []
    for effect, error, freedom in zip(effects, errors, [*parts.freedom, parts.freedom.sum()], strict=True):
        half = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * float(error)
        values = [float(effect), float(effect) - half, float(effect) + half]
        told.append(Estimate(*(np.expm1(values).tolist() if shape.is_ratio else values)))
    return told


def _naive(data: _Data, shape: Shape) -> _Parts:
    """The effect as it looks with nothing held fixed."""
    bare = data._replace(
        columns=data.columns[:, :1], confounders=np.empty((len(data.outcome), 0)), blocks=(), groupings=()
    )
    return _grouped(bare, shape)


def _grouped(data: _Data, shape: Shape, column: int = 0) -> _Parts:
    """The regression of each group; `NotEstimable` where that of one is."""
    fits = [_regressed(data.of(data.groups == group), shape.link, column) for group in range(len(data.names))]
    return _joined(fits, data, shape)


def _left(data: _Data, shape: Shape, pilot: Fit) -> _Left:
    """Outcome and columns less what levels and cross-fitted predictions from the confounders tell.

    With a log link the outcome is the working response of the fitted Poisson regression, whose weight is the mean: one
    Newton step on the orthogonal score (outcome - mean) * (treatment - its prediction) from the regression's estimate.
    An outcome of 0 has one, too.
    """
    if shape.link == "log":
        weights = pilot.mean
        outcome = pilot.predictor + (data.outcome - pilot.mean) / pilot.mean
    else:
        weights, outcome = np.ones(len(data.outcome)), data.outcome
    width = data.columns.shape[1]
    centred = data.levels.centred(np.column_stack([outcome, data.columns, data.confounders]), weights)
    confounders = centred[:, 1 + width :]
    features = np.column_stack([confounders, data.confounders]) if data.groupings else confounders
    left = centred[:, : 1 + width].copy()
    if features.shape[1]:
        left -= predicted(features, left, weights, data.clusters)
    return _Left(left[:, 0], left[:, 1:], weights, confounders, centred[:, 1])


def predicted(features: Matrix, targets: Matrix, weights: Vector, clusters: Labels | None) -> Matrix:
    """Each target's prediction for each row by models that have not seen the row's cluster.

    Ridge regressions on splines and on products, and boosted trees: the predictions of each for unseen rows are mixed
    with the weights, none negative, that fit the target best ("short-stacking": Ahrens, Hansen, Schaffer and Wiemann
    2025, Journal of Applied Econometrics 40). Trees alone miss a planted elasticity (-1.93 [-1.97, -1.90] for -2).
    """
    from scipy.optimize import nnls

    root = np.sqrt(weights)
    found = np.zeros_like(targets)
    folds = list(_folds(features, clusters))
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


def _folds(features: Matrix, clusters: Labels | None) -> Any:
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


def _final(left: _Left, data: _Data, rows: Any = slice(None)) -> _Parts:
    """Each group's regression of what is left of the outcome on what is left of the treatment, by clusters."""
    effects, errors, freedom = [], [], []
    weights, columns, outcome, groups = left.weights[rows], left.columns[rows], left.outcome[rows], data.groups[rows]
    clusters = None if data.clusters is None else data.clusters[rows]
    for group in range(len(data.names)):
        mine = groups == group
        x, w = columns[mine], weights[mine]
        bread = np.linalg.pinv(x.T @ (x * w[:, None]))
        slope = bread @ (x.T @ (outcome[mine] * w))
        scores = x * (w * (outcome[mine] - x @ slope))[:, None]
        summed, number = by_cluster(scores, None if clusters is None else clusters[mine])
        effects.append(slope[0])
        errors.append(np.sqrt((bread @ summed.T @ summed @ bread)[0, 0] * number / max(number - 1, 1)))
        freedom.append(max(number - 1.0, 1.0))
    return _Parts(np.array(effects), np.array(errors), np.array(freedom), _weights(data))


def _average_derivative(data: _Data) -> _Parts:
    """The mean slope of any smooth curve of the outcome in the treatment, without a model of the treatment.

    Automatic debiased machine learning (Chernozhukov, Newey and Singh 2022, Econometrica 90): the Riesz representer of
    the mean derivative is fitted by least squares in the same columns as the curve. If the outcome is a straight line
    in the treatment, it is the line's slope; if not, the two estimates part.
    """
    values, slopes = _curve(data)
    scores = np.zeros(len(data.outcome))
    for known, rest in _folds(values, data.clusters):
        gram = values[known].T @ values[known] / len(known) + 1e-4 * np.eye(values.shape[1])
        curve = np.linalg.solve(gram, values[known].T @ data.outcome[known] / len(known))
        riesz = np.linalg.solve(gram, slopes[known].mean(axis=0))
        scores[rest] = slopes[rest] @ curve + (values[rest] @ riesz) * (data.outcome[rest] - values[rest] @ curve)
    summed, number = by_cluster((scores - scores.mean())[:, None], data.clusters)
    error = float(np.sqrt((summed**2).sum() * number / (number - 1))) / len(scores)
    return _Parts(np.array([scores.mean()]), np.array([error]), np.array([number - 1.0]), np.ones(1))


def _curve(data: _Data) -> tuple[Matrix, Matrix]:
    """Columns of a curve in treatment and confounders, and their derivatives by the treatment."""
    from sklearn.preprocessing import SplineTransformer

    treatment, rows = data.columns[:, 0], len(data.outcome)
    centre, spread = treatment.mean(), treatment.std()
    t = ((treatment - centre) / spread)[:, None]
    held = [np.ones((rows, 1)), data.columns[:, 1:]]
    if data.confounders.shape[1]:
        held.append(SplineTransformer(n_knots=KNOTS, degree=3, include_bias=False).fit_transform(data.confounders))
    fixed = np.column_stack(held)
    values = np.column_stack([fixed, t, t**2 - 1, t * data.confounders])
    slopes = np.column_stack([np.zeros_like(fixed), np.ones_like(t), 2 * t, data.confounders]) / spread
    return values, slopes


def _positivity(left: _Left, data: _Data) -> Gate:
    """Whether the treatment still varies once the confounders are held fixed, and in more than a few rows."""
    told = np.average(left.columns[:, 0] ** 2, weights=left.weights)
    share = float(told / np.average(left.treatment**2, weights=left.weights))
    moves = left.weights * left.columns[:, 0] ** 2
    rows = float(moves.sum() ** 2 / (moves**2).sum()) if moves.sum() > 0 else 0.0
    by_unit = by_cluster(moves[:, None], data.clusters)[0].ravel()
    units = float(by_unit.sum() ** 2 / (by_unit**2).sum()) if moves.sum() > 0 else 0.0
    passed = share >= LEAST_LEFT and rows >= LEAST_EFFECTIVE and units >= FEWEST_CLUSTERS
    detail = (
        f"{share:.1%} of the treatment's variance is left by what is held fixed, as if in {rows:.0f} rows of "
        f"{units:.0f} clusters; at least {LEAST_LEFT:.0%} in {LEAST_EFFECTIVE:.0f} rows of {FEWEST_CLUSTERS} must be"
    )
    return Gate("overlap", passed, share, detail)


def _choice(left: _Left, data: _Data, design: Design, declared: Gate) -> Gate:
    """Whether what is recorded tells the treatment as is declared of how it was chosen; `declared` is what was so far.

    One that is declared as random must not be told. One that is not must be, or somebody must answer for the
    confounders, and then it is taken for random. Levels tell a part of any treatment, so that beside them nothing can
    be said of this.
    """
    if not declared.passed:
        return declared
    raw = float(np.average(left.treatment**2, weights=left.weights))
    told = 1 - float(np.average(left.columns[:, 0] ** 2, weights=left.weights)) / raw
    words = f"what is recorded tells {told:.1%} of the treatment"
    if design.is_randomised:
        detail = f"declared as random: {words}; at most {LARGEST_TOLD:.0%} may be"
        return Gate("back_door", told <= LARGEST_TOLD, told, detail)
    if data.groupings or data.columns.shape[1] > 1:
        return declared
    units = len(left.treatment) if data.clusters is None else len(np.unique(data.clusters))
    goes_with = _correlation(left.treatment - left.columns[:, 0], left.treatment, left.weights)
    if goes_with * np.sqrt(units) > ASSIGNMENT_ERRORS:
        return declared
    if design.is_vouched:
        return Gate("back_door", True, told, f"{TAKEN_FOR_RANDOM}: {words}, no more than chance does")
    return Gate("back_door", False, told, f"declared as chosen by recorded facts: {words}, no more than chance does")


def _balances(study: Study, left: _Left, data: _Data) -> tuple[Balance, ...]:
    """|Correlation| of each confounder with the treatment as it is, and with what is left of it."""
    found = []
    for place, name in enumerate(study.confounders.names):
        values = study.confounders.values[data.rows, place]
        known = np.isfinite(values)
        if known.sum() > 2 and values[known].std() > 0:
            both = [
                _correlation(values[known], treatment[known], left.weights[known])
                for treatment in (data.columns[:, 0], left.columns[:, 0])
            ]
            found.append(Balance(name, *both))
    return tuple(found)


def _correlation(one: Vector, other: Vector, weights: Vector) -> float:
    covariance = np.cov(one, other, aweights=weights)
    spread = np.sqrt(covariance[0, 0] * covariance[1, 1])
    return float(abs(covariance[0, 1]) / spread) if spread > 0 else 0.0


def _balance(balances: tuple[Balance, ...]) -> Gate:
    worst = max(balances, key=lambda one: one.after, default=Balance("none", 0.0, 0.0))
    detail = (
        f"what is left of the treatment goes with {worst.covariate} by a correlation of {worst.after:.3f}; it must "
        f"stay under {LARGEST_CORRELATION}"
    )
    return Gate("balance", worst.after < LARGEST_CORRELATION, worst.after, detail)


def _agreement(first: Estimate, second: Estimate) -> Gate:
    gap = max(first.low - second.high, second.low - first.high, 0.0)
    return Gate("agreement", gap == 0.0, gap, f"{_interval(first)} and {_interval(second)} must overlap")


def _random_treatment(left: _Left, data: _Data, found: _Parts) -> Gate:
    """Placebo: treatments that other units had at other times must have no effect, by honest intervals."""
    generator = np.random.default_rng(SEED)
    rest = left.outcome - (left.columns[:, 0] * found.effects[data.groups])
    one = data._replace(groups=np.zeros(len(rest), dtype=np.int64), names=("all",))
    effects, missed = [], []
    for _ in range(PLACEBO_DRAWS):
        moved = left.columns.copy()
        moved[:, 0] = moved[_shifted(data.clusters, len(rest), generator), 0]
        placebo = _final(left._replace(outcome=rest, columns=moved), one)
        effects.append(placebo.effects[0])
        missed.append(abs(placebo.effects[0]) > 2 * placebo.errors[0])
    mean, error = float(np.mean(effects)), float(np.std(effects, ddof=1) / np.sqrt(PLACEBO_DRAWS))
    share = float(np.mean(missed))
    detail = (
        f"mean effect of a treatment moved to other rows {mean:.3g}; it must be within {3 * error:.3g} of 0. "
        f"{share:.0%} of the intervals miss 0; at most {MOST_FALSE:.0%} may"
    )
    return Gate("placebo_treatment", abs(mean) <= 3 * error and share <= MOST_FALSE, mean, detail)


def _shifted(clusters: Labels | None, rows: int, generator: np.random.Generator) -> Labels:
    """For each row the place of a row of another cluster: each cluster gets another's rows in turn, from any on."""
    if clusters is None:
        return generator.permutation(rows)
    order = np.argsort(clusters, kind="stable")
    codes, first, counts = np.unique(clusters[order], return_index=True, return_counts=True)
    other = generator.permutation(len(codes))
    places = np.arange(rows) - np.repeat(first - generator.integers(0, rows, len(codes)), counts)
    moved: Labels = np.empty(rows, dtype=np.int64)
    moved[order] = order[np.repeat(first[other], counts) + places % np.repeat(counts[other], counts)]
    return moved


def _subsets(left: _Left, data: _Data) -> Gate:
    """Halves of the clusters must find the same: the largest of five differences, in its standard errors."""
    from scipy.stats import t

    generator = np.random.default_rng(SEED)
    clusters = np.arange(len(data.outcome)) if data.clusters is None else data.clusters
    codes = np.unique(clusters, return_inverse=True)[1].ravel()
    one = data._replace(groups=np.zeros(len(codes), dtype=np.int64), names=("all",))
    bar, worst = float(t.ppf(1 - STRICT / 2 / HALVES, max((codes.max() - 1) / 2, 1))), 0.0
    for _ in range(HALVES):
        half = generator.permutation(codes.max() + 1)[codes] % 2 == 0
        parts = [_final(left, one, rows) for rows in (half, ~half)]
        error = float(np.hypot(parts[0].errors[0], parts[1].errors[0]))
        worst = max(worst, abs(float(parts[0].effects[0] - parts[1].effects[0])) / max(error, 1e-300))
    detail = f"halves of the clusters differ by {worst:.1f} standard errors at most; it must stay under {bar:.1f}"
    return Gate("random_subset", worst < bar, worst, detail)


def _noise(data: _Data, shape: Shape, found: _Parts) -> Gate:
    """A further cause that is noise must leave the regression where it is."""
    noise = np.random.default_rng(SEED).normal(size=(len(data.outcome), 1))
    more = data._replace(confounders=np.column_stack([data.confounders, noise]), blocks=(*data.blocks, "noise"))
    moved = abs(float(found.weights @ (_grouped(more, shape).effects - found.effects)))
    errors = moved / max(float(np.sqrt(found.weights**2 @ found.errors**2)), 1e-300)
    detail = f"noise held fixed moves the estimate by {errors:.2f} standard errors; at most {MOVED_ERRORS:.0f} may be"
    return Gate("random_common_cause", errors <= MOVED_ERRORS, errors, detail)


def _later(later: Vector, data: _Data, shape: Shape) -> Gate:
    """Placebo: with today's treatment held fixed, a later one can have no effect on today."""
    known = data._replace(columns=np.column_stack([data.columns, later])).of(np.isfinite(later))
    what = "of a later treatment on the outcome before it"
    chance, detail = _by_chance(what, known, shape, column=known.columns.shape[1] - 1)
    return Gate("placebo_later_treatment", chance >= STRICT, chance, f"{detail}; under {STRICT:.2g} it is refused")


def _negative_controls(study: Study, data: _Data, shape: Shape) -> Gate:
    """Placebo: the treatment cannot have changed these outcomes; an effect betrays a wrong date or a hidden cause."""
    told = []
    for name, values in study.placebo_outcomes.items():
        other = data._replace(outcome=values[data.rows])
        told.append(
            _by_chance(f"on {name}, which it cannot have changed,", other.of(np.isfinite(other.outcome)), shape)
        )
    least = min(chance for chance, _ in told)
    bar = STRICT / len(told)
    details = "; ".join(detail for _, detail in told)
    return Gate("negative_controls", least >= bar, least, f"{details}; under {bar:.2g} it is refused")


def _by_chance(what: str, data: _Data, shape: Shape, column: int = 0) -> tuple[float, str]:
    """How often chance makes an effect as large where there is none, and in words; 0 where none can be estimated."""
    from scipy.stats import t

    try:
        if shape.link == "log":
            data = data.of(estimable(data.outcome, data.groups, *data.groupings))
        parts = _grouped(data, shape, column)
    except NotEstimable as reason:
        return 0.0, f"the effect {what} cannot be estimated: {reason}"
    effect = float(parts.weights @ parts.effects)
    error = float(np.sqrt(parts.weights**2 @ parts.errors**2))
    chance = float(2 * t.sf(abs(effect) / max(error, 1e-300), parts.freedom.sum()))
    return chance, f"the effect {what} is {effect:.3g} ± {error:.2g} (p = {chance:.3f})"


def _histogram(left: _Left) -> Propensities:
    """How the treatment is spread, less its levels, and how much of that the confounders leave."""
    both = left.treatment, left.columns[:, 0]
    width = float(np.percentile(np.abs(left.treatment), 99))
    edges = np.linspace(-width, width, 22)
    counts = tuple(tuple(np.histogram(np.clip(one, -width, width), edges)[0].tolist()) for one in both)
    return Propensities(tuple(edges.tolist()), ("treatment", "what confounders leave of it"), counts)


def _sensitivity(left: _Left, data: _Data) -> Sensitivity:
    """What something unrecorded would have to be like (Chernozhukov, Cinelli, Newey, Sharma and Syrgkanis 2022).

    Of all groups together, on the scale of the link. EconML's bounds, with the standard error by clusters in place of
    its own, on residuals scaled by the root of their weights.
    """
    from econml.validate.sensitivity_analysis import RV, dml_sensitivity_values, sensitivity_interval

    root = np.sqrt(left.weights / left.weights.mean())
    treatment, outcome = left.columns[:, 0] * root, left.outcome * root
    if left.columns.shape[1] > 1:
        beside = left.columns[:, 1:] * root[:, None]
        treatment, outcome = (v - beside @ np.linalg.lstsq(beside, v, rcond=None)[0] for v in (treatment, outcome))
    found = dml_sensitivity_values(treatment[:, None], outcome[:, None])
    one = data._replace(groups=np.zeros(len(outcome), dtype=np.int64), names=("all",))
    covariance = np.array(found.cov)
    covariance[0, 0] = _final(left, one).errors[0] ** 2
    values: dict[str, Any] = {
        "theta": float(found.theta),
        "sigma": float(found.sigma),
        "nu": float(found.nu),
        "cov": covariance,
        "alpha": 1 - CONFIDENCE,
    }
    name, outcome_share, treatment_share = _strongest(left, root, data)
    low, high = sensitivity_interval(**values, c_y=outcome_share, c_t=treatment_share, rho=1.0)
    return Sensitivity(
        robustness=float(RV(**values, interval_type="theta")),
        robustness_interval=float(RV(**values, interval_type="ci")),
        benchmark=name,
        outcome_share=outcome_share,
        treatment_share=treatment_share,
        interval=(float(np.squeeze(low)), float(np.squeeze(high))),
    )


def _strongest(left: _Left, root: Vector, data: _Data) -> tuple[str, float, float]:
    """The recorded column that tells most of what the others leave of outcome and treatment, and its share of each."""
    found = [("nothing", 0.0, 0.0)]
    blocks = np.array(data.blocks)
    treatment, outcome = left.treatment * root, left.outcome * root
    confounders = left.confounders * root[:, None]
    beside = left.columns[:, 1:] * root[:, None]
    for block in dict.fromkeys(data.blocks):
        others = np.column_stack([beside, confounders[:, blocks != block]])
        mine = confounders[:, blocks == block]
        of_outcome = _told_more(outcome, np.column_stack([others, left.columns[:, 0] * root]), mine)
        found.append((block, of_outcome, _told_more(treatment, others, mine)))
    return max(found, key=lambda one: one[1] * one[2])


def _told_more(target: Vector, others: Matrix, mine: Matrix) -> float:
    """The partial R² of the columns `mine`."""
    rests = []
    for columns in (others, np.column_stack([others, mine])):
        rest = target - columns @ np.linalg.lstsq(columns, target, rcond=None)[0] if columns.shape[1] else target
        rests.append(float(rest @ rest))
    return float(np.clip(1 - rests[1] / max(rests[0], 1e-300), 0.0, 0.99))


def _interval(estimate: Estimate) -> str:
    return f"{estimate.ate:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"

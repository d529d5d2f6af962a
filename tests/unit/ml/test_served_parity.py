"""A release whose model files do not give its scores does not go out."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cartograph.releases import UnfitRelease
from cartograph.releases.contents.files import own_model_files
from cartograph.releases.contents.tables import PREDICTION_COLUMNS
from ml_assets.core.features.customers import column_values
from ml_assets.core.models.export import predict
from ml_assets.defs.serving.parity import BAR, ROWS, Parity, parities, parity_result, require_parity
from tests.api.making import FEATURES, classifier, make_card, onnx_model

CUSTOMERS = 12_000
SCORED = range(0, CUSTOMERS, 2)


def write(folder: Path, name: str, features: tuple[str, ...] = tuple(one.name for one in FEATURES)) -> None:
    known = {one.name: one for one in FEATURES}
    model, card = (folder / file for file in own_model_files(name))
    model.parent.mkdir(exist_ok=True)
    model.write_bytes(onnx_model())
    card.write_text(make_card(name=name, features=tuple(known[one] for one in features)).model_dump_json())


@pytest.fixture(scope="module")
def customers() -> pa.Table:
    """With scores of the trained model itself, for every other customer."""
    draw = np.random.default_rng(5)
    features = {
        "recency_days": pa.array(draw.integers(0, 365, CUSTOMERS)),
        "mean_gap_days": pa.array(draw.uniform(1, 90, CUSTOMERS), mask=np.arange(CUSTOMERS) % 5 == 0),
        "is_opted_in": pa.array(draw.integers(0, 2, CUSTOMERS) == 1),
    }
    matrix = column_values(pa.table(features), list(features))
    trained = classifier().predict_proba(matrix)[:, 1]
    scores = pa.array(trained, mask=~np.isin(np.arange(CUSTOMERS), SCORED))
    ids = [f"C{n:05d}" for n in range(CUSTOMERS)]
    return pa.table({"customer_id": ids, "churn_probability": scores, "purchase_probability": scores, **features})


def predictions(customers: pa.Table) -> pa.Table:
    """Two own models were asked, the second of one customer in three."""
    scores = predict(onnx_model(), column_values(customers, [one.name for one in FEATURES]))
    rows = [
        {
            "customer_id": one,
            "models": ["a", "b"][: 1 + (at % 3 == 0)],
            "model_versions": ["1", "1"][: 1 + (at % 3 == 0)],
        }
        | {"probabilities": [scores[at], scores[at]][: 1 + (at % 3 == 0)]}
        for at, one in enumerate(customers["customer_id"].to_pylist())
    ]
    return pa.Table.from_pylist(rows, pa.schema(list(PREDICTION_COLUMNS.items())))


def test_a_released_model_gives_the_trained_ones_scores(tmp_path: Path, customers: pa.Table) -> None:
    for name in ("churn_classifier", "a", "b"):
        write(tmp_path, name)
    found = {one.model: one for one in parities(tmp_path, customers, predictions(customers))}
    assert {name: one.rows for name, one in found.items()} == {"churn_classifier": 6000, "a": ROWS, "b": 4000}
    assert all(one.worst <= BAR for one in found.values())
    require_parity(list(found.values()))
    assert parity_result(list(found.values())).passed


def test_a_model_with_its_columns_in_another_order_is_kept_back(tmp_path: Path, customers: pa.Table) -> None:
    write(tmp_path, "churn_classifier", ("mean_gap_days", "recency_days", "is_opted_in"))
    (found,) = parities(tmp_path, customers, None)
    assert found.worst > 0.01
    with pytest.raises(UnfitRelease, match=r"churn_classifier by .* on 6,000 customers"):
        require_parity([found])
    assert not parity_result([found]).passed


def test_scores_of_another_version_are_kept_back(tmp_path: Path, customers: pa.Table) -> None:
    write(tmp_path, "churn_classifier")
    at = customers.column_names.index("churn_probability")
    others = customers.set_column(at, "churn_probability", pa.array([0.5] * CUSTOMERS))
    with pytest.raises(UnfitRelease):
        require_parity(parities(tmp_path, others, None))


def test_without_a_model_or_a_score_there_is_nothing_to_hold(tmp_path: Path, customers: pa.Table) -> None:
    assert parities(tmp_path, customers, None) == []
    write(tmp_path, "churn_classifier")
    at = customers.column_names.index("churn_probability")
    none = customers.set_column(at, "churn_probability", pa.nulls(CUSTOMERS, pa.float64()))
    assert parities(tmp_path, none, None) == [Parity("churn_classifier", 0.0, 0)]
    assert parity_result([]).passed


def test_a_score_that_is_no_number_is_a_difference(tmp_path: Path, customers: pa.Table) -> None:
    write(tmp_path, "churn_classifier")
    at = customers.column_names.index("churn_probability")
    broken = customers.set_column(at, "churn_probability", pa.array([float("nan")] * CUSTOMERS))
    with pytest.raises(UnfitRelease):
        require_parity(parities(tmp_path, broken, None))

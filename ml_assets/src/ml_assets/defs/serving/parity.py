"""Whether the files of a release give the scores that are released: the last look before it goes out.

That an exported model gives the trained one's probabilities is the check `onnx_parity` of its training, on 20,000 rows
or more. This is the other half: that what is served is that export, on the columns that it takes, in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cartograph.releases import UnfitRelease
from cartograph.releases.contents.files import own_model_files
from cartograph.releases.contents.models import ModelCard
from cartograph.trust.evidence import checked
from ml_assets.core.features.customers import column_values
from ml_assets.core.models import churn, propensity
from ml_assets.core.models.export import predict

SERVED = "served_as_scored"
BAR, ROWS = 1e-6, 10_000
"""Largest difference of a probability; the batch in which a row is scored may change its last bits."""
COLUMNS = {churn.NAME: "churn_probability", propensity.NAME: "purchase_probability"}
"""The columns of the customers that hold scores of a model that is released."""


class Parity(NamedTuple):
    """The worst difference between a released score and what the released model says, over `rows` customers."""

    model: str
    worst: float
    rows: int


def served_spec(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check of a release; what fails it is not released."""
    return dg.AssetCheckSpec(
        SERVED,
        asset=asset,
        blocking=True,
        description=f"The models' files give the released scores, within {BAR:g} on up to {ROWS:,} customers each.",
    )


def parities(folder: Path, customers: pa.Table, predicted: pa.Table | None) -> list[Parity]:
    """How far the models in `folder` are from their scores in `customers`, and in `predicted`: the own models'."""
    scored = [(name, customers["customer_id"], customers[column]) for name, column in COLUMNS.items()]
    scored += _own_scores(predicted) if predicted is not None else []
    return [
        _parity(folder, name, customers, ids, scores)
        for name, ids, scores in scored
        if (folder / own_model_files(name)[0]).is_file()
    ]


def require_parity(found: Sequence[Parity]) -> Sequence[Parity]:
    """What was found, or UnfitRelease where a model is not that which the scores are of."""
    apart = [f"{one.model} by {one.worst:.2g} on {one.rows:,} customers" for one in found if one.worst > BAR]
    if apart:
        raise UnfitRelease(
            f"The models to release do not give the scores to release: {', '.join(apart)}; at most {BAR:g} is right. "
            "Materialize their predictions, then release."
        )
    return found


def parity_result(found: Sequence[Parity]) -> dg.AssetCheckResult:
    """What was found of a release that went out."""
    worst = max((one.worst for one in found), default=0.0)
    told = ", ".join(f"{one.model} {one.worst:.1e} on {one.rows:,} rows" for one in found) or "no scored model"
    return checked(
        SERVED,
        worst <= BAR,
        expected=f"differences of at most {BAR:g}",
        found=told,
        metadata={"worst_difference": worst},
    )


def _own_scores(predicted: pa.Table) -> list[tuple[str, pa.ChunkedArray, pa.ChunkedArray]]:
    """By model, the customers that it was asked of, and its scores: the lists of each customer in one long table."""
    sizes = pc.list_value_length(predicted["models"]).to_numpy()
    ids = predicted["customer_id"].take(pa.array(np.repeat(np.arange(len(predicted)), sizes)))
    models, scores = (pc.list_flatten(predicted[column]) for column in ("models", "probabilities"))
    return [
        (name, ids.filter(pc.equal(models, name)), scores.filter(pc.equal(models, name)))
        for name in sorted(pc.unique(models).to_pylist())
    ]


def _parity(folder: Path, name: str, customers: pa.Table, ids: pa.ChunkedArray, scores: pa.ChunkedArray) -> Parity:
    model, card = own_model_files(name)
    features = [one.name for one in ModelCard.model_validate_json((folder / card).read_bytes()).features]
    is_scored = scores.is_valid()
    ids, scores = ids.filter(is_scored), scores.filter(is_scored)
    every = np.unique(np.linspace(0, max(len(ids) - 1, 0), min(len(ids), ROWS)).astype(np.int64))
    if not len(every):
        return Parity(name, 0.0, 0)
    rows = customers.take(pc.index_in(ids.take(every), value_set=customers["customer_id"]))
    again = predict((folder / model).read_bytes(), column_values(rows, features))
    worst = np.abs(again - scores.take(every).to_numpy()).max()
    return Parity(name, float(np.nan_to_num(worst, nan=np.inf)), len(every))

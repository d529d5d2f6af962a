"""What a release has of the shop's own models: each that has a champion, and what they predict of each customer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import duckdb
import pyarrow as pa

from cartograph.releases.contents.tables import PREDICTION_COLUMNS
from ml_assets.components.customer_model import predictions_table
from ml_assets.core.registry import Registered
from ml_assets.defs.marts import Pinned
from ml_assets.defs.serving.lists import ordered_lists

_LISTED = {"models": "model", "model_versions": "model_version", "probabilities": "probability"}


def released_predictions(
    con: duckdb.DuckDBPyConnection, inputs: Pinned, models: Mapping[str, Registered], as_of: date
) -> pa.Table:
    """The predictions of `models` for each customer of the as-of date whom one of them was asked of."""
    selects = [
        f"SELECT customer_id, '{name}' AS model, model_version, probability "
        f"FROM ({inputs.selects[predictions_table(name).split('.')[1]]}) WHERE as_of_date = $as_of"
        for name in sorted(models)
    ]
    return (
        con.execute(
            f"""
            SELECT customer_id, {ordered_lists(_LISTED, "model")}
            FROM ({" UNION ALL ".join(selects)}) GROUP BY customer_id""",
            {"as_of": as_of},
        )
        .to_arrow_table()
        .cast(pa.schema(list(PREDICTION_COLUMNS.items())))
    )

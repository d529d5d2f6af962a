"""What a release needs to explain its models: an explainer of each, by the customers or orders that it predicts for."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from cartograph.releases.contents.models import Explainer
from ml_assets.core.explanations.making import ROWS, explainer, typical
from ml_assets.core.features.customers import column_values
from ml_assets.core.models import campaign_uplift, churn, clv, segments
from ml_assets.core.models.scoring import card_of, inputs
from ml_assets.core.registry import Registered


def order_rows(con: duckdb.DuckDBPyConnection, risk: str) -> pa.Table:
    """The latest rows of the SELECT `risk` of `features.order_risk`, as many as an explainer looks at."""
    return con.execute(
        f"SELECT * FROM ({risk}) ORDER BY order_date DESC, order_id LIMIT $rows", {"rows": ROWS}
    ).to_arrow_table()


def released_explainer(model: Registered, rows: pa.Table) -> Explainer | None:
    """The explainer of `model` by those of the feature `rows` that it predicts for; None where there are none.

    Raises:
        NoModel: the model takes a feature that the table does not have.
    """
    if model.name in (clv.NAME, campaign_uplift.NAME, segments.NAME):
        names = [feature.name for feature in card_of(model).features]
        known = column_values(rows.filter(pc.greater(rows["order_days_count"], 0)), names)
        return Explainer(features=tuple(names), reference=typical(known)) if len(known) else None
    if model.name == churn.NAME:
        rows = rows.filter(pc.is_valid(rows["churn_probability"]))
    matrix = inputs(model, rows)
    names = [feature.name for feature in card_of(model).features]
    return explainer(model.content, names, matrix) if len(matrix) else None

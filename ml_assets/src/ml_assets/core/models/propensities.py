"""Purchase propensities: the table of the champion's probabilities, and how it is filled.

What they are joined with for the API is the release's business (`ml_assets.defs`).
"""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from cartograph.contracts import Column, Contract
from ml_assets.core.models.propensity import HORIZON_DAYS, NAME, QUESTION
from ml_assets.core.models.scoring import score
from ml_assets.core.registry import Registered

CONTRACT = Contract(
    dataset="purchase_propensities",
    grain="A registered customer on an as-of date.",
    key=("customer_id", "as_of_date"),
    event_time="as_of_date",
    columns=(
        Column(name="customer_id", type="string", description="The customer."),
        Column(name="as_of_date", type="date", description="The score rests on what was known before this day (UTC)."),
        Column(
            name="purchase_probability",
            type="double",
            description=f"Probability of an order in the next {HORIZON_DAYS} days.",
        ),
        Column(name="propensity_model_version", type="string", description=f"The version of models/{NAME}."),
    ),
)


def purchase_propensities(
    con: duckdb.DuckDBPyConnection, features: str, model: Registered | None, as_of: date
) -> pa.Table:
    """The propensities of all customers of `as_of`, as `scoring.score` says."""
    return score(con, QUESTION, CONTRACT, features, model, as_of)

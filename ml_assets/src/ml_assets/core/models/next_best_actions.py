"""Next best actions: what the champion advises for the customers of one as-of date, and their table's contract.

The model is `campaign_uplift`; what the API makes of the advice is the release's business (`ml_assets.defs`).
"""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from cartograph.contracts import Column, Contract
from ml_assets.core.models import campaign_uplift
from ml_assets.core.models.campaign_uplift import NOTHING, REASONS, UpliftModel
from ml_assets.core.registry import NoModel, Registered

CONTRACT = Contract(
    dataset="next_best_actions",
    grain="A customer on an as-of date.",
    key=("customer_id", "as_of_date"),
    event_time="as_of_date",
    columns=(
        Column(name="customer_id", type="string", description="The customer."),
        Column(name="as_of_date", type="date", description="Rests on what was known before this day (UTC)."),
        Column(name="next_action", type="string", description=f"The campaign to send again, or `{NOTHING}`."),
        Column(
            name="next_action_reason",
            type="string",
            accepted=tuple(REASONS),
            description="Why: " + "; ".join(f"`{name}`: {about}" for name, about in REASONS.items()) + ".",
        ),
        Column(
            name="added_margin_amount",
            type="double",
            nullable=True,
            description=(
                "Expected margin that the action adds in 14 days, net of its cost; with "
                f"`{NOTHING}` that of the best action, which was turned down; null where there is none."
            ),
        ),
        Column(
            name="added_margin_low",
            type="double",
            nullable=True,
            description="Lower end of its 95 % interval: of the mean of customers alike, not of a single one.",
        ),
        Column(name="added_margin_high", type="double", nullable=True, description="Upper end of it."),
        Column(
            name="uplift_model_version", type="string", description=f"The version of models/{campaign_uplift.NAME}."
        ),
    ),
)


def next_best_actions(con: duckdb.DuckDBPyConnection, features: str, model: Registered | None, as_of: date) -> pa.Table:
    """The advice for all customers of `as_of`, by customer; `features` is a DuckDB SELECT.

    Without a model nobody has one.

    Raises:
        NoModel: the version cannot be read by this code.
    """
    schema = CONTRACT.arrow_schema()
    if model is None:
        return schema.empty_table()
    rows = con.execute(
        f"SELECT * FROM ({features}) WHERE as_of_date = $as_of ORDER BY customer_id", {"as_of": as_of}
    ).to_arrow_table()
    try:
        chosen = campaign_uplift.choose(UpliftModel.model_validate_json(model.content), rows)
    except ValueError as error:
        raise NoModel(
            f"Version {model.version} of {model.name} is of another form: materialize models/{model.name}. {error}"
        ) from None
    amounts = (pa.array(values, pa.float64(), from_pandas=True) for values in chosen.effects)
    version = pa.repeat(pa.scalar(model.version, pa.string()), len(rows))
    columns = [
        rows["customer_id"], rows["as_of_date"], pa.array(chosen.actions, pa.string()),
        pa.array(chosen.reasons, pa.string()), *amounts, version,
    ]  # fmt: skip
    return pa.table(columns, names=schema.names).cast(schema)

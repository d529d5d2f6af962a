"""Lifetime values: the champion's predictions for the customers of one as-of date, and their table's contract.

The model is `clv`; what the API makes of the values is the release's business (`ml_assets.defs`).
"""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from cartograph.contracts import Column, Contract
from ml_assets.core.models import clv
from ml_assets.core.registry import NoModel, Registered

CONTRACT = Contract(
    dataset="lifetime_values",
    grain="A customer who has ordered before an as-of date.",
    key=("customer_id", "as_of_date"),
    event_time="as_of_date",
    columns=(
        Column(name="customer_id", type="string", description="The customer."),
        Column(name="as_of_date", type="date", description="Rests on what was known before this day (UTC)."),
        Column(name="alive_probability", type="double", description="Probability that the customer has not left."),
        Column(name="expected_orders_90d", type="double", description="Expected days with an order in 90 days."),
        Column(name="expected_orders_365d", type="double", description="Expected days with an order in 365 days."),
        Column(name="expected_order_amount", type="double", description="Expected total of such a day's orders."),
        Column(
            name="expected_revenue_365d",
            type="double",
            description="Revenue expected in 365 days, net of cancellations and refunds.",
        ),
        Column(
            name="lifetime_value_amount",
            type="double",
            description=(
                f"Margin in that revenue, discounted by {clv.YEARLY_DISCOUNT:.0%} a year; where the shop's costs are "
                "not known, the discounted revenue."
            ),
        ),
        Column(name="clv_model_version", type="string", description=f"The version of models/{clv.NAME}."),
    ),
)


def lifetime_values(con: duckdb.DuckDBPyConnection, features: str, model: Registered | None, as_of: date) -> pa.Table:
    """The values of all customers who ordered before `as_of`, by customer; `features` is a DuckDB SELECT.

    Without a model nobody has a value.

    Raises:
        NoModel: the model is too old for the as-of date.
    """
    schema = CONTRACT.arrow_schema()
    if model is None:
        return schema.empty_table()
    rows = clv.ordered_rows(con, features, as_of)
    try:
        values = clv.predict(clv.ClvModel.model_validate_json(model.content), clv.known(rows, as_of))
    except ValueError as error:
        raise NoModel(f"Version {model.version} of {clv.NAME}: {error}") from None
    version = pa.repeat(pa.scalar(model.version, pa.string()), len(rows))
    columns = [rows["customer_id"], rows["as_of_date"], *(pa.array(column) for column in values), version]
    return pa.table(columns, names=schema.names).cast(schema)

"""Customer segments: the champion's segment of each customer of one as-of date, and their table's contract.

The model is `segments`; what the API makes of the segments is the release's business (`ml_assets.defs`).
"""

from __future__ import annotations

from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from cartograph.contracts import Column, Contract
from ml_assets.core.models.clv import ordered_rows
from ml_assets.core.models.segments import NAME, SegmentModel, inputs_of
from ml_assets.core.registry import NoModel, Registered

CONTRACT = Contract(
    dataset="customer_segments",
    grain="A customer who has ordered before an as-of date.",
    key=("customer_id", "as_of_date"),
    event_time="as_of_date",
    columns=(
        Column(name="customer_id", type="string", description="The customer."),
        Column(name="as_of_date", type="date", description="Rests on what was known before this day (UTC)."),
        Column(
            name="segment_number",
            type="bigint",
            description="The segment; it keeps its number when the segments are found anew.",
        ),
        Column(name="behaviour_segment", type="string", description="In what it differs most from other customers."),
        Column(name="segments_model_version", type="string", description=f"The version of models/{NAME}."),
    ),
)


def customer_segments(con: duckdb.DuckDBPyConnection, features: str, model: Registered | None, as_of: date) -> pa.Table:
    """The segments of all customers who ordered before `as_of`, by customer; `features` is a DuckDB SELECT.

    Without a model nobody has a segment.

    Raises:
        NoModel: the model takes a feature that the table does not have.
    """
    schema = CONTRACT.arrow_schema()
    if model is None:
        return schema.empty_table()
    found = SegmentModel.model_validate_json(model.content)
    rows = ordered_rows(con, features, as_of)
    missing = [name for name in inputs_of(found.behaviours) if name not in rows.schema.names]
    if missing:
        raise NoModel(
            f"Version {model.version} of {model.name} takes {', '.join(missing)}, which the feature table does not "
            f"have. Train it again: materialize models/{model.name}."
        )
    place = found.nearest(rows)
    return pa.table(
        [
            rows["customer_id"],
            rows["as_of_date"],
            pa.array(np.array([segment.number for segment in found.segments])[place], pa.int64()),
            pa.array([segment.name for segment in found.segments], pa.string()).take(pa.array(place)),
            pa.repeat(pa.scalar(model.version, pa.string()), len(rows)),
        ],
        names=schema.names,
    ).cast(schema)

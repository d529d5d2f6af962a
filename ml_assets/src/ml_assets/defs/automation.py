"""When assets run: the job of this location. Conditions are in `cartograph.trust.automation`."""

from __future__ import annotations

import dagster as dg

ml_job = dg.define_asset_job(
    "ml_job",
    selection=dg.AssetSelection.all(),
    description="Everything of this location: features for some as-of dates, then model, scores, effects and release.",
)

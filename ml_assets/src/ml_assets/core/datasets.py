"""Which dataset a mart is made of that a shop need not deliver. What follows for an asset is that asset's business."""

from __future__ import annotations

DATASETS = {
    "fct_payments": "payments",
    "fct_refunds": "refunds",
    "fct_reviews": "reviews",
    "fct_events": "events",
    "fct_sessions": "events",
    "conversion_funnel": "events",
    "fct_inventory_daily": "inventory",
    "fct_marketing_spend": "marketing_spend",
    "fct_experiment_assignments": "experiment_assignments",
    "dim_campaigns": "campaigns",
}
"""The optional dataset of each mart that needs one; the others are made of what every shop delivers."""

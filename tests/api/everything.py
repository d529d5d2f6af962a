"""A small release in which every endpoint has something to answer."""

from __future__ import annotations

from collections.abc import Mapping

from cartograph.releases import Manifest
from cartograph.releases.contents.causal import POLICIES
from cartograph.releases.contents.experiments import EXPERIMENTS
from cartograph.releases.contents.files import EXPERIMENTS_FILE, MEMO_PAGE, POLICIES_FILE
from cartograph.settings import Settings
from tests.api.making import (
    PICTURE,
    demand_files,
    make_advice,
    make_customers,
    make_effect,
    make_forecasts,
    make_products,
    product_files,
    publish,
)
from tests.api.test_causal import make_policy
from tests.api.test_experiments import make_experiment
from tests.api.test_own_models import FILES as OWN_MODEL
from tests.api.valuing import clv_files, explained, propensity_files, segment_files, uplift_files
from tests.unit.ml.test_uplift import make_action

CUSTOMERS = [f"C{number:04d}" for number in range(1, 1000)]
PRODUCTS = [f"P{number:02d}" for number in range(60)]
KNOWN = {
    "customer_id": ["C0001", "C0500", "C0999"],
    "product_id": ["P00", "P07", "P58"],
    "question": ["email_spring"],
    "model": ["refund_soon"],
    "name": ["churn_classifier", "checkout_redesign"],
    "picture": ["gains", "effects"],
}
"""Parameters of paths, and values for which there is an answer."""


def publish_everything(settings: Settings, replaced: Mapping[str, bytes | None] | None = None) -> Manifest:
    """Release all that the service reads: every model, demand, effects, policies, experiments, own models.

    `replaced` gives files another content, or leaves them out.
    """
    question = "email_spring"
    return publish(
        settings,
        customers=make_customers(CUSTOMERS),
        effects=(make_effect(name=question), make_effect(name="vip", verdict="not identified", estimate=None)),
        replaced={
            **product_files(make_products(PRODUCTS)),
            **demand_files(make_forecasts(PRODUCTS), make_advice(PRODUCTS)),
            **OWN_MODEL,
            **clv_files(),
            **uplift_files(make_action()),
            **segment_files(),
            **propensity_files(),
            **explained("churn_classifier"),
            POLICIES_FILE: POLICIES.dump_json((make_policy(),)),
            EXPERIMENTS_FILE: EXPERIMENTS.dump_json((make_experiment(),)),
            MEMO_PAGE.format(name=question): b"# What it added",
            f"causal/{question}/effects.svg": PICTURE,
            **(replaced or {}),
        },
    )

"""What a release has to predict lifetime values with, and to explain its models."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from cartograph.releases.contents.files import (
    CLV_CARD,
    CLV_MODEL,
    PROPENSITY_CARD,
    PROPENSITY_MODEL,
    SEGMENTS_CARD,
    SEGMENTS_MODEL,
    UPLIFT_CARD,
    UPLIFT_MODEL,
    explanation_file,
)
from cartograph.releases.contents.models import Explainer
from ml_assets.core.causal.uplift import INPUTS, Action
from ml_assets.core.explanations.making import explainer
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.models import bg_nbd, campaign_uplift, clv, gamma_gamma, segments
from ml_assets.core.models.campaign_uplift import UpliftModel
from ml_assets.core.models.segments import Segment, SegmentModel
from tests.api.making import AS_OF, FEATURES, make_card, onnx_model

NAMES = [feature.name for feature in FEATURES]
CUSTOMER = {"order_days_count": 4, "tenure_days": 300, "recency_days": 20, "spend_amount": 260.5}


def make_clv(days: int = 400, usable: int = 366) -> clv.ClvModel:
    """A model of a shop that is `days` old, and can be used for so many more."""
    return clv.ClvModel(
        as_of=AS_OF,
        start=AS_OF - timedelta(days=days),
        rates=bg_nbd.Parameters(0.8, 2.1, 0.7, 2.5),
        spend=gamma_gamma.Parameters(6.0, 4.0, 35.0),
        speed=tuple((1 + 0.2 * np.sin(np.arange(days + usable + 365) / 58)).tolist()),
        kept_share=0.93,
        margin_rate=0.4,
    )


def sample() -> np.ndarray:
    """Customers like those that the classifier of these tests knows."""
    draw = np.random.default_rng(5)
    rows = np.column_stack([draw.integers(0, 365, 300), draw.uniform(1, 90, 300), draw.integers(0, 2, 300)])
    rows[::5, 1] = np.nan
    return rows.astype(np.float32)


def explained(name: str) -> dict[str, bytes | None]:
    """What explains the classifier of these tests under the name `name`."""
    made = explainer(onnx_model(), NAMES, sample())
    return {explanation_file(name): made.model_dump_json().encode()}


def clv_files(model: clv.ClvModel | None = None) -> dict[str, bytes | None]:
    """The files of the lifetime-value model."""
    card = make_card(name=clv.NAME, version="7", features=tuple(clv.input_specs()))
    reference = Explainer(features=clv.INPUTS, reference=(2.0, 200.0, 60.0, 120.0))
    return {
        CLV_MODEL: (model or make_clv()).to_bytes(),
        CLV_CARD: card.model_dump_json().encode(),
        explanation_file(clv.NAME): reference.model_dump_json().encode(),
    }


def uplift_files(*actions: Action) -> dict[str, bytes | None]:
    """The files of the model of next best actions."""
    features = tuple(CUSTOMER_FEATURES.specs((*INPUTS, campaign_uplift.CONTACT)))
    card = make_card(name=campaign_uplift.NAME, version="8", features=features)
    typical = Explainer(features=tuple(one.name for one in features), reference=(2.0, 200.0, 60.0, 2.0, 120.0, 1.0))
    return {
        UPLIFT_MODEL: UpliftModel(as_of=AS_OF, actions=actions).to_bytes(),
        UPLIFT_CARD: card.model_dump_json().encode(),
        explanation_file(campaign_uplift.NAME): typical.model_dump_json().encode(),
    }


def make_segments() -> SegmentModel:
    """Those with coupons, those who look around, and those who do neither."""
    centres = {"with coupons": (1.5, 0.0), "much looking around": (0.0, 1.5), "without coupons": (-0.5, -0.5)}
    return SegmentModel(
        as_of=AS_OF,
        behaviours=("coupons", "browsing"),
        typical=(0.2, 1.0),
        mean=(0.2, 1.0),
        spread=(0.1, 0.5),
        segments=tuple(
            Segment(number=number, name=name, centre=centre, customers=10)
            for number, (name, centre) in enumerate(centres.items(), 4)
        ),
        largest_number=6,
    )


def segment_files(reference: tuple[float | None, ...] = (2.0, 0.2, 3.0, 1.0)) -> dict[str, bytes | None]:
    """The files of the model of segments."""
    model = make_segments()
    features = tuple(CUSTOMER_FEATURES.specs(segments.inputs_of(model.behaviours)))
    explainer = Explainer(features=tuple(one.name for one in features), reference=reference)
    return {
        SEGMENTS_MODEL: model.to_bytes(),
        SEGMENTS_CARD: make_card(name=segments.NAME, version="9", features=features).model_dump_json().encode(),
        explanation_file(segments.NAME): explainer.model_dump_json().encode(),
    }


def propensity_files() -> dict[str, bytes | None]:
    """The files of a purchase propensity: in these tests the churn model."""
    card = make_card(name="purchase_propensity", version="6")
    return {PROPENSITY_MODEL: onnx_model(), PROPENSITY_CARD: card.model_dump_json().encode()}

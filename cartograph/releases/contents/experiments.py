"""Experiments: what each variant did to each metric, and the decision."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field, TypeAdapter

from cartograph.releases.contents.base import Content
from cartograph.releases.contents.causal import EffectCheck


class ExperimentEstimate(Content):
    """What one variant did to one metric, against the control.

    `effect` is the difference per unit and `relative_effect` its share of the control's mean (None where that is not
    above 0). `ci_low` and `ci_high` hold for one look at the planned end; `always_low` and `always_high` at every look
    at once. Means are as measured, the effect after the covariates, which took `variance_reduction` of the variance.
    `adjusted_p_value` allows for all metrics and variants, and is None for a guardrail, which must hold alone. With
    these units `detectable_effect` is found four times of five.
    """

    metric: str = Field(examples=["orders"])
    kind: Literal["mean", "ratio", "conversion", "revenue"]
    role: Literal["primary", "secondary", "guardrail"]
    unit: str = Field(examples=["orders per customer"])
    variant: str = Field(examples=["treatment"])
    n_control: int = Field(ge=0, examples=[5012])
    n_variant: int = Field(ge=0, examples=[4988])
    control_mean: float = Field(examples=[0.31])
    variant_mean: float = Field(examples=[0.366])
    effect: float = Field(examples=[0.055])
    ci_low: float = Field(examples=[0.031])
    ci_high: float = Field(examples=[0.079])
    relative_effect: float | None = Field(examples=[0.177])
    relative_low: float | None = Field(examples=[0.1])
    relative_high: float | None = Field(examples=[0.255])
    always_low: float = Field(examples=[0.019])
    always_high: float = Field(examples=[0.091])
    p_value: float = Field(examples=[1e-05])
    adjusted_p_value: float | None = Field(examples=[4e-05])
    always_p_value: float = Field(examples=[0.0002])
    variance_reduction: float = Field(examples=[0.22])
    detectable_effect: float = Field(examples=[0.034])
    detectable_relative_effect: float | None = Field(examples=[0.11])
    power: float | None = Field(
        None, description="Of finding the smallest effect of interest, where one is named.", examples=[0.82]
    )
    units_needed: int | None = Field(
        None, description="In all variants, to find it four times of five.", examples=[9600]
    )


class ExperimentSegment(Content):
    """The effect on the primary metric among the units of a segment; `adjusted_p_value` is whether segments differ."""

    segment: str = Field(examples=["is_new"])
    value: str = Field(examples=["true"])
    variant: str = Field(examples=["treatment"])
    n_units: int = Field(examples=[2150])
    effect: float = Field(examples=[0.061])
    ci_low: float = Field(examples=[0.018])
    ci_high: float = Field(examples=[0.104])
    adjusted_p_value: float = Field(examples=[0.41])


class ExperimentResult(Content):
    """An experiment with its decision, or why there is none.

    With the verdict `invalid`, a check of its `integrity` failed, and no estimate leaves. `ends` is the first day that
    is no more part of it. `variants` are the units of each, the control first; `choice` is the variant to ship.
    """

    name: str = Field(examples=["checkout_redesign"])
    description: str = Field(examples=["A checkout on one page, to have fewer carts abandoned."])
    state: Literal["planned", "running", "complete"]
    control: str = Field(examples=["control"])
    variants: dict[str, int] = Field(examples=[{"control": 5012, "treatment": 4988}])
    starts: date | None = Field(examples=["2024-12-02"])
    ends: date | None = Field(examples=["2025-02-13"])
    as_of: date | None = Field(examples=["2026-01-01"])
    confidence_level: float = Field(gt=0, lt=1, examples=[0.95])
    correction: str = Field(examples=["holm"])
    integrity: tuple[EffectCheck, ...]
    warnings: tuple[str, ...] = Field(examples=[["a metric has no covariate"]])
    estimates: tuple[ExperimentEstimate, ...]
    segments: tuple[ExperimentSegment, ...]
    verdict: Literal["ship", "hold", "stop", "invalid"]
    choice: str | None = Field(examples=["treatment"])
    reasons: tuple[str, ...] = Field(examples=[["orders rose by 17.7 % (10.0 % to 25.5 %)"]])
    memo: str = Field("", description="The decision in plain words, as Markdown.")


EXPERIMENTS = TypeAdapter(tuple[ExperimentResult, ...])

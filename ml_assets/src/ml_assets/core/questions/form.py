"""The form of a causal question's file: what it names, what is wrong with it, and what a shop must have for it.

What its panel holds is `customers`, for a question about weeks of products `products`; a file of either has the keys
of `asked`, and says by `unit` which it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from cartograph.yaml_files import YamlFileError, read_yaml
from ml_assets.core.causal.panel import CONFOUNDERS
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.own_models.target import features_in, marts_of, meant
from ml_assets.core.questions.asked import KINDS, Asked, Part, QuestionError, made
from ml_assets.core.questions.products import ProductQuestion

FEATURES = {feature.name: feature for feature in CUSTOMER_FEATURES.features}
EVENTS, CAMPAIGNS, ASSIGNMENTS = "fct_events", "dim_campaigns", "fct_experiment_assignments"
LINES, ORDERS = "fct_order_items", "fct_orders"
LONGEST = 4000
LONGEST_WINDOW = 365
EARLIER = "earlier_outcome"
USUAL_MODIFIERS = ("recency_days", "orders_count", "spend_365d_amount")


class Treatment(Part):
    """What was done to a customer, and where that stands: one of `campaign`, `experiment` and `select`."""

    title: str | None = Field(None, max_length=200, description="What it is, in a few words: `was sent the e-mail`.")
    kind: KINDS = Field("binary", description="`binary`, `discrete` (levels) or `continuous` (an amount).")
    campaign: str | None = Field(None, min_length=1, description="An e-mail campaign, by its id: who was sent it.")
    or_largest: bool = Field(
        False, description="With `campaign`: where the shop has none of that id, that with the most recipients."
    )
    experiment: str | None = Field(None, min_length=1, description="An experiment, by its id: each one's variant.")
    select: str | None = Field(
        None,
        description="A SELECT of customer_id and happened_at over published marts, and of level where there are "
        "several: whom it happened to and when.",
    )
    levels: tuple[str, ...] | None = Field(
        None,
        min_length=2,
        description="What `level`, or the variant, may be, in order; the first is the control.",
    )
    lasts: bool = Field(
        False,
        description="Whether each row of `select` holds until the customer's next one, as a tier does, and not for the "
        "moment only.",
    )
    within_days: int = Field(
        7, ge=1, le=90, description="On given dates, what happens in so many days from each is the treatment."
    )

    @field_validator("select")
    @classmethod
    def _allowed(cls, value: str | None) -> str | None:
        return value if value is None else _bounded(value, "one SELECT of customer_id and happened_at")

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> Treatment:
        given = [name for name in ("campaign", "experiment", "select") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of campaign, experiment and select, got {' and '.join(given) or 'none'}")
        if self.or_largest and self.campaign is None:
            raise ValueError("or_largest goes with campaign: leave it out")
        if self.lasts and self.select is None:
            raise ValueError("lasts goes with select: leave it out")
        if self.campaign is not None and (self.kind != "binary" or self.levels):
            raise ValueError("who was sent a campaign is a yes or no: leave out kind and levels")
        if self.kind == "continuous" and (self.experiment is not None or self.levels):
            raise ValueError("a continuous treatment is the number `level` of its select: leave out levels")
        if self.kind == "discrete" and self.levels is None:
            raise ValueError("a discrete treatment needs its levels, the control first")
        if self.kind == "binary" and self.levels is not None and len(self.levels) != 2:
            raise ValueError(f"a binary treatment has two levels, the control first, got {len(self.levels)}")
        return self

    @property
    def marts(self) -> tuple[str, ...]:
        """The marts that it is read from."""
        if self.select is not None:
            return marts_of(self.select)
        return (EVENTS, CAMPAIGNS) if self.campaign is not None else (ASSIGNMENTS,)


class Time(Part):
    """When a customer is looked at: what is known before that moment is adjusted for, the outcome comes after it."""

    at: Literal["first", "own"] | None = Field(
        None,
        description="`first`: all at the first moment of the treatment; `own`: each at their own row of the treatment, "
        "which then tells of the untreated, too.",
    )
    dates: tuple[date, ...] = Field((), description="On these dates.")
    every: Literal["month", "quarter"] | None = Field(None, description="On a day of each month or quarter.")
    after_days: int = Field(0, ge=0, le=91, description="With `every`: the day, counted from its first as 0.")

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Time:
        if sum((self.at is not None, bool(self.dates), self.every is not None)) != 1:
            raise ValueError("it is one of `first`, `own`, dates: […] and every: quarter")
        if self.after_days and self.every is None:
            raise ValueError("after_days goes with every: leave it out")
        return self


class Outcome(Part):
    """What is counted after the treatment: one of the shop's measures, or a SELECT of one's own."""

    title: str | None = Field(None, max_length=200, description="What it is, in a few words.")
    measure: Literal["net_spend", "orders", "ordered", "margin"] | None = Field(
        None,
        description="`net_spend` (what order lines came to after discounts), `orders`, `ordered` (whether there is "
        "one: conversion) or `margin`; cancelled orders do not count.",
    )
    select: str | None = Field(
        None, description="A SELECT of customer_id, happened_at and amount over published marts; amounts are added up."
    )
    unit: str | None = Field(None, max_length=60, description="With `select`: what an amount is counted in.")
    within_days: int = Field(
        14, ge=1, le=LONGEST_WINDOW, description=f"The window in days from the treatment on, 1 to {LONGEST_WINDOW}."
    )

    @field_validator("select")
    @classmethod
    def _allowed(cls, value: str | None) -> str | None:
        return value if value is None else _bounded(value, "one SELECT of customer_id, happened_at and amount")

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Outcome:
        if (self.measure is None) == (self.select is None):
            raise ValueError("give one of measure and select")
        if self.unit is not None and self.select is None:
            raise ValueError("a measure has its unit: leave unit out")
        return self

    @property
    def marts(self) -> tuple[str, ...]:
        """The marts that it is read from."""
        return (LINES,) if self.select is None else marts_of(self.select)


class NegativeControl(Part):
    """What the treatment cannot have changed: an effect on it betrays a wrong date or a hidden cause."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,40}$",
        description=f"`{EARLIER}` for the outcome in as many days before the treatment, or a name for `select`.",
    )
    select: str | None = Field(
        None, description="A SELECT of customer_id, happened_at and amount; counted in the outcome's window."
    )

    @field_validator("select")
    @classmethod
    def _allowed(cls, value: str | None) -> str | None:
        return value if value is None else _bounded(value, "one SELECT of customer_id, happened_at and amount")

    @model_validator(mode="after")
    def _is_one_of_them(self) -> NegativeControl:
        if (self.name == EARLIER) == (self.select is not None):
            raise ValueError(f"it is `{EARLIER}`, or another name with a select")
        return self


class CustomerQuestion(Asked):
    """A question about customers, as its file has it."""

    unit: Literal["customer"] = Field("customer", description="`customer` or `product_week`.")
    treatment: Treatment = Field(description="What was done.")
    time: Time | None = Field(
        None,
        description="`first`, `own`, or given dates. Unset: `first` for a campaign, else `own`.",
    )
    outcome: Outcome = Field(description="What is counted after it.")
    population: str = Field(
        "true", max_length=1000, description="A SQL condition on customer features: whom it is asked of."
    )
    negative_controls: tuple[NegativeControl, ...] = Field(
        (NegativeControl(name=EARLIER),), description=f"What it cannot have changed. Unset: `{EARLIER}`."
    )

    @field_validator("time", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"at": value} if isinstance(value, str) else value

    @field_validator("negative_controls", mode="before")
    @classmethod
    def _shorts(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [{"name": one} if isinstance(one, str) else one for one in value]

    @field_validator("population")
    @classmethod
    def _allowed(cls, value: str) -> str:
        features_in(value)
        return value

    @field_validator("confounders", "modifiers")
    @classmethod
    def _are_known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else tuple(dict.fromkeys(_known(name) for name in value))

    @model_validator(mode="after")
    def _fits(self) -> CustomerQuestion:
        treatment, time = self.treatment, self.moment
        if treatment.campaign is not None and time.at != "first":
            raise ValueError("time: a campaign's recipients are known from its first e-mail on: leave it out")
        if treatment.experiment is not None and time.at != "own":
            raise ValueError("time: who is in an experiment is known from their assignment on: leave it out")
        if treatment.lasts and time.at is not None:
            raise ValueError("time: what lasts is looked at on given dates: give dates, or every")
        if treatment.or_largest and (self.is_randomised or self.unrecorded):
            raise ValueError(
                "or_largest: what is declared of one campaign's recipients does not hold of another's: leave out "
                "or_largest, or is_randomised and unrecorded"
            )
        names = [control.name for control in self.negative_controls]
        if len(set(names)) < len(names):
            raise ValueError(f"negative_controls: each needs a name of its own, got {', '.join(names)}")
        if self.is_randomised and self.confounders == ():
            raise ValueError("confounders: chance must be held against some features: leave it out for the usual ones")
        return self

    @property
    def moment(self) -> Time:
        """When customers are looked at."""
        return self.time or Time(at="first" if self.treatment.campaign is not None else "own")

    @property
    def observed(self) -> tuple[str, ...]:
        """The features that are adjusted for."""
        return CONFOUNDERS if self.confounders is None else self.confounders

    @property
    def depends_on(self) -> tuple[str, ...]:
        """The features that the effect may depend on: asked for with the estimand CATE."""
        if self.estimand != "CATE":
            return ()
        return USUAL_MODIFIERS if self.modifiers is None else self.modifiers

    @property
    def marts(self) -> tuple[str, ...]:
        """The marts that it is read from, besides those of the features."""
        controls = [mart for c in self.negative_controls if c.select for mart in marts_of(c.select)]
        return tuple(dict.fromkeys((*self.treatment.marts, *self.outcome.marts, LINES, *controls)))

    @property
    def needs(self) -> frozenset[str]:
        """The marts that it is of no use without: those it is read from, and those of the features that it names."""
        named = {*features_in(self.population), *(self.confounders or ()), *(self.modifiers or ())}
        return frozenset(self.marts) | {mart for name in named if (mart := FEATURES[name].needs)}


FORMS: Mapping[str, type[Asked]] = {"customer": CustomerQuestion, "product_week": ProductQuestion}
"""By `unit`: the form of the file."""


def question_of(name: str, content: Mapping[str, Any]) -> Asked:
    """The question called `name` of a file's content.

    Raises:
        QuestionError: it does not have the form.
    """
    if "name" in content:
        raise QuestionError("name: leave it out: a question is called after its file.")
    unit = content.get("unit", "customer")
    if unit not in FORMS:
        raise QuestionError(f"unit: {unit!r} is none of {', '.join(FORMS)}.{meant(str(unit), FORMS)}")
    return made(FORMS[unit], {"name": name, **content})


def read_question(path: Path) -> Asked:
    """The question in the file at `path`.

    Raises:
        QuestionError: it cannot be used; the message begins with the file.
    """
    try:
        content = read_yaml(path, "a mapping with description, owner, treatment and outcome")
    except YamlFileError as error:
        raise QuestionError(str(error)) from None
    try:
        return question_of(path.stem, content)
    except QuestionError as error:
        raise QuestionError(f"{path}: {error}") from None


def _bounded(select: str, form: str) -> str:
    if len(select) > LONGEST:  # it is kept with each materialisation
        raise ValueError(f"it has {len(select):,} characters, and may have {LONGEST:,}")
    marts_of(select, form)
    return select


def _known(name: str) -> str:
    if name not in FEATURES:
        raise ValueError(f"there is no customer feature {name}.{meant(name, FEATURES)} docs/features.md lists them")
    return name

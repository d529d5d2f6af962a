"""The form of an experiment's file: what it names, and what is wrong with it.

What its metrics can be made of is `outcomes`; what follows from it, `plan` and `panel`.
"""

from __future__ import annotations

import math
import re
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cartograph.yaml_files import YamlFileError, read_yaml
from ml_assets.core.datasets import DATASETS
from ml_assets.core.experiments.errors import ExperimentError
from ml_assets.core.experiments.outcomes import OUTCOMES
from ml_assets.core.experiments.plan import Correction, Kind, Metric, Role

NAME = r"[a-z][a-z0-9_]{0,40}"
ASSIGNMENTS = "fct_experiment_assignments"
SEGMENTS = ("loyalty_tier", "country", "acquisition_channel", "is_new", "had_ordered")
"""What customers can be told apart by: as they were when they were assigned."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MetricForm(_Part):
    """A metric of each customer; bounds stand in validators, as Dagster takes plain types."""

    name: str = Field(description="Lower-case letters, digits and underscores.", pattern=f"^{NAME}$")
    kind: Kind = Field(
        "mean",
        description="`mean` of the outcome; `revenue`, the same of money; `conversion`, the share of customers who "
        "have any; `ratio`, its sum over that of another outcome.",
    )
    of: str = Field(description=f"The outcome: {', '.join(OUTCOMES)}.")
    per: str | None = Field(None, description="Of a ratio: the outcome that it is divided by.")
    role: Role = Field(
        "secondary",
        description="`primary` decides, and one metric is; `guardrail` must not get worse; `secondary` is told.",
    )
    higher_is_better: bool = Field(True, description="Whether more of it is good.")
    smallest_effect: float | None = Field(
        None, description="Of the primary metric: the least relative effect worth having, e.g. 0.02 for 2 %."
    )
    margin: float | None = Field(
        None, description="Of a guardrail: by how much it may be worse, relative to the control, e.g. 0.05."
    )

    @field_validator("of", "per")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        return value if value is None else _one_of(value, OUTCOMES, "outcome")

    @field_validator("smallest_effect", "margin")
    @classmethod
    def _in_range(cls, value: float | None) -> float | None:
        if value is not None and not 0 < value < 10:
            raise ValueError(f"it must be above 0 and below 10, got {value}")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> MetricForm:
        if (self.kind == "ratio") != (self.per is not None):
            raise ValueError(f"{self.name}: a ratio has `per`, and no other kind does")
        if self.kind == "revenue" and not OUTCOMES[self.of].is_money:
            raise ValueError(f"{self.name}: {self.of} is no money; its kind is mean")
        if self.margin is not None and self.role != "guardrail":
            raise ValueError(f"{self.name}: only a guardrail has a margin")
        if self.smallest_effect is not None and self.role != "primary":
            raise ValueError(f"{self.name}: only the primary metric has a smallest_effect")
        return self

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What it is made of."""
        return (self.of,) if self.per is None else (self.of, self.per)

    def plan(self, currency: str) -> Metric:
        """The metric as it is judged, in the shop's `currency`."""
        money = OUTCOMES[self.of].is_money
        over = f"per {self.per.rstrip('s')}" if self.per else "per customer"
        unit = "share of customers" if self.kind == "conversion" else f"{currency if money else self.of} {over}"
        return Metric(self.name, self.kind, self.role, unit, self.higher_is_better, self.smallest_effect, self.margin)


class Exposure(_Part):
    """The event by which a customer meets the change."""

    event_type: str = Field(description="An `event_type` of fct_events that only the experiment causes.")


class Experiment(_Part):
    """An experiment on customers, as its file has it. It is called after the file."""

    name: str = Field(pattern=f"^{NAME}$", description="Lower-case letters, digits and underscores; from the file.")
    description: str = Field(max_length=1000, description="One or two sentences: what is changed, and what for.")
    owner: str = Field(
        pattern=r"^(team:[\w.-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$", description="`team:name` or an e-mail address."
    )
    experiment_id: str | None = Field(
        None, description=f"Its `experiment_id` in {ASSIGNMENTS}; by default the file's name."
    )
    shops: tuple[str, ...] | None = Field(None, description="The shops that it runs in; by default all.")
    starts: date | None = Field(None, description="First day (UTC); by default that of the first assignment.")
    ends: date | None = Field(
        None, description="First day that is no more part of it; by default the day after the last assignment."
    )
    variants: dict[str, float] = Field(description="The planned share of each variant; they add up to 1.")
    control: str = Field("control", description="The variant that the others are compared with.")
    metrics: tuple[MetricForm, ...] = Field(description="What is compared; one of them is the primary metric.")
    covariate_days: int = Field(
        60, description="The metrics of so many days before the assignment take variance off (CUPED); 0: none do."
    )
    window_days: int | None = Field(
        None, description="A customer's outcomes count for so many days after the assignment; by default to the end."
    )
    segments: tuple[str, ...] = Field((), description=f"Effects are told apart by: {', '.join(SEGMENTS)}.")
    exposure: Exposure | None = Field(None, description="By which event a customer meets the change, where one tells.")
    alpha: float = Field(0.05, description="Chance of a false find that is accepted, over all metrics and variants.")
    correction: Correction = Field("holm", description="For many metrics and variants.")

    @field_validator("variants")
    @classmethod
    def _shares(cls, value: dict[str, float]) -> dict[str, float]:
        if len(value) < 2:
            raise ValueError("name two variants or more, each with its planned share")
        if min(value.values()) <= 0 or not math.isclose(math.fsum(value.values()), 1, abs_tol=1e-6):
            raise ValueError(f"shares must be above 0 and add up to 1, they add up to {math.fsum(value.values()):g}")
        return value

    @field_validator("segments")
    @classmethod
    def _are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_one_of(name, SEGMENTS, "segment") for name in value)

    @field_validator("covariate_days", "window_days")
    @classmethod
    def _days(cls, value: int | None) -> int | None:
        if value is not None and not 0 <= value <= 730:
            raise ValueError(f"it must be from 0 to 730, got {value}")
        return value or (None if value is None else 0)

    @field_validator("alpha")
    @classmethod
    def _level(cls, value: float) -> float:
        if not 0.0001 <= value <= 0.5:
            raise ValueError(f"it must be from 0.0001 to 0.5, got {value}")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Experiment:
        if self.control not in self.variants:
            raise ValueError(f"the control {self.control} is none of the variants {', '.join(self.variants)}")
        names = [metric.name for metric in self.metrics]
        if len(set(names)) != len(names):
            raise ValueError(f"each metric must have a name of its own, got {', '.join(names)}")
        primary = [metric.name for metric in self.metrics if metric.role == "primary"]
        if len(primary) != 1:
            raise ValueError(f"one metric has the role primary, got {', '.join(primary) or 'none'}")
        if self.starts and self.ends and self.ends <= self.starts:
            raise ValueError(f"it ends on {self.ends}, which must be after it starts, {self.starts}")
        if self.window_days == 0:
            raise ValueError("window_days must be 1 or more")
        return self

    @property
    def assigned_as(self) -> str:
        """Its id among the assignments."""
        return self.experiment_id or self.name

    @property
    def shares(self) -> dict[str, float]:
        """The planned shares, the control first."""
        return {self.control: self.variants[self.control], **self.variants}

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What its metrics are made of, each once."""
        return tuple(dict.fromkeys(name for metric in self.metrics for name in metric.outcomes))

    @property
    def marts(self) -> tuple[str, ...]:
        """The marts that it is read from."""
        of_exposure = ("fct_events",) if self.exposure else ()
        of_outcomes = (OUTCOMES[name].mart for name in self.outcomes)
        return tuple(dict.fromkeys((ASSIGNMENTS, "dim_customers", "fct_orders", *of_outcomes, *of_exposure)))

    @property
    def datasets(self) -> frozenset[str]:
        """The optional datasets that a shop must deliver for it."""
        return frozenset(DATASETS[mart] for mart in self.marts if mart in DATASETS)

    def plan(self, currency: str) -> list[Metric]:
        """The metrics as they are judged, the primary one first."""
        ordered = sorted(self.metrics, key=lambda metric: metric.role != "primary")
        return [metric.plan(currency) for metric in ordered]


def read_experiment(path: Path) -> Experiment:
    """The experiment in the file at `path`.

    Raises:
        ExperimentError: it cannot be used; the message begins with the file.
    """
    try:
        content = read_yaml(path, "a mapping with description, owner, variants and metrics")
    except YamlFileError as error:
        raise ExperimentError(str(error)) from None
    if "name" in content:
        raise ExperimentError(f"{path}: name: leave it out: an experiment is called after its file.")
    try:
        return Experiment(**{"name": path.stem, **content})
    except ValidationError as error:
        told = "; ".join(_explained(found) for found in error.errors(include_url=False))
        raise ExperimentError(f"{path}: {told}") from None


def _one_of(name: str, known: Any, what: str) -> str:
    if name not in known:
        near = get_close_matches(name, list(known), n=1)
        meant = f" Is {near[0]} meant?" if near else ""
        raise ValueError(f"there is no {what} {name}.{meant} There are {', '.join(known)}")
    return name


def _explained(found: Any) -> str:
    """A problem that pydantic found: the key, what is wrong, and what the key takes."""
    place = [str(part) for part in found["loc"]]
    forms: dict[str, type[BaseModel]] = {"metrics": MetricForm, "exposure": Exposure}
    form: type[BaseModel] = Experiment
    description = None
    for part in (one for one in place if not one.isdigit()):
        if part in form.model_fields:
            description = form.model_fields[part].description
            form = forms.get(part, form)
        elif found["type"] == "extra_forbidden":
            near = get_close_matches(part, list(form.model_fields), n=1)
            meant = f" Is {near[0]} meant?" if near else ""
            keys = ", ".join(name for name in form.model_fields if form is not Experiment or name != "name")
            return f"{'.'.join(place)}: there is no such key.{meant} Keys: {keys}."
    takes = f" It takes: {description}" if description else ""
    got = "" if found["type"] in {"missing", "value_error"} else f", got {found['input']!r}"
    message = re.sub(r"^Value error, ", "", str(found["msg"]))
    return f"{'.'.join(place) or 'the file'}: {message}{got}.{takes}"

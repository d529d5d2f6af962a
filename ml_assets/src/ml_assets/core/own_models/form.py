"""The form of a model's file: what it names, what is wrong with it, and what a shop must have for it.

The estimator is made in `estimators`, the SQL looked at in `target`; what follows from a file is `question`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cartograph.yaml_files import YamlFileError, read_yaml
from ml_assets.core.evaluation.classification import MEASURES
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.models.errors import OwnModelError
from ml_assets.core.own_models.target import features_in, marts_of, meant, require_columns

FEATURES = {feature.name: feature for feature in CUSTOMER_FEATURES.features}
LONGEST = 4000
NAME = r"[a-z][a-z0-9_]{0,40}"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(_Part):
    """What is predicted of a customer on an as-of date D; bounds stand in validators, as Dagster takes plain types."""

    events: str = Field(
        description="A SELECT of customer_id and happened_at over published marts: each event that counts. "
        "No dates: Cartograph takes those of each window.",
    )
    within_days: int = Field(description="The window: from D on, so many days, 1 to 365.")
    happens: bool = Field(True, description="Whether it is predicted that an event happens, or with `false` that none.")

    @field_validator("events")
    @classmethod
    def _allowed(cls, value: str) -> str:
        if len(value) > LONGEST:  # it is kept with each version, as a tag
            raise ValueError(f"it has {len(value):,} characters, and may have {LONGEST:,}")
        marts_of(value)
        require_columns(value)
        return value

    @field_validator("within_days", mode="before")
    @classmethod
    def _is_a_number(cls, value: Any) -> Any:
        if isinstance(value, bool):  # which pydantic takes for 0 or 1
            raise ValueError(f"it must be a whole number of days, got {str(value).lower()}")
        return value

    @field_validator("within_days")
    @classmethod
    def _in_range(cls, value: int) -> int:
        if not 1 <= value <= 365:
            raise ValueError(f"it must be from 1 to 365, got {value}")
        return value


class Estimator(_Part):
    """What learns it."""

    path: str = Field(description="The import path of a scikit-learn classifier that CARTOGRAPH_ESTIMATORS lists.")
    params: dict[str, bool | int | float | str | list[int] | None] = Field(
        default_factory=dict, description="Its parameters by name."
    )


class FeatureRule(_Part):
    """The baseline of one who sorts customers by a single feature."""

    feature: str = Field(description="A customer feature.")
    order: Literal["ascending", "descending"] = Field(
        "descending", description="`descending`: the higher the value, the likelier; `ascending`: the lower."
    )

    @field_validator("feature")
    @classmethod
    def _is_known(cls, value: str) -> str:
        return _known(value)


class OwnModel(_Part):
    """A model of yes or no about customers, as its file has it. It is called after the file."""

    name: str = Field(pattern=f"^{NAME}$", description="Lower-case letters, digits and underscores; from the file.")
    description: str = Field(max_length=1000, description="One or two sentences: what it predicts, and what for.")
    owner: str = Field(
        pattern=r"^(team:[\w.-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$", description="`team:name` or an e-mail address."
    )
    target: Target = Field(description="What is predicted.")
    population: str = Field(
        "true", max_length=1000, description="A SQL condition on customer features: whom it is asked of."
    )
    features: tuple[str, ...] | None = Field(
        None, min_length=1, description="The customer features that it learns from, by name. Unset: all."
    )
    estimator: Estimator = Field(description="What learns it.")
    metric: Literal["auc", "average_precision", "neg_log_loss", "neg_brier_score"] = Field(
        "auc", description="By what it is held against the baseline, by scikit-learn's names; more is better."
    )
    baseline: FeatureRule | None = Field(
        None, description="What it must beat: sorting by a feature. Unset: predicting the same share for all."
    )
    margin: float = Field(0.0, ge=0, lt=1, description="By how much more than the baseline it must reach, 0 or more.")

    @field_validator("population")
    @classmethod
    def _allowed(cls, value: str) -> str:
        features_in(value)
        return value

    @field_validator("features")
    @classmethod
    def _are_known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else tuple(dict.fromkeys(_known(name) for name in value))

    @model_validator(mode="after")
    def _baseline_has_the_metric(self) -> OwnModel:
        if self.baseline is not None and MEASURES[self.metric].of_probabilities:
            raise ValueError(
                f"metric {self.metric} needs probabilities, and sorting by {self.baseline.feature} gives none: leave "
                "out baseline, or choose auc or average_precision"
            )
        return self

    @property
    def marts(self) -> tuple[str, ...]:
        """The marts that its target is read from."""
        return marts_of(self.target.events)

    @property
    def needs(self) -> frozenset[str]:
        """All marts that it is of no use without: those of its target, and of the features that it names."""
        named = {*features_in(self.population), *(self.features or ())}
        named |= {self.baseline.feature} if self.baseline else set()
        return frozenset(self.marts) | {mart for name in named if (mart := FEATURES[name].needs)}

    def asks_as(self, definition: str | None) -> bool:
        """Whether the file that `definition` is of asked the same: what is predicted, and of whom."""
        try:
            earlier = OwnModel.model_validate_json(definition or "")
        except ValidationError:
            return False
        return (earlier.target, earlier.population) == (self.target, self.population)


def own_model(content: dict[str, Any]) -> OwnModel:
    """The model of a file's content and its name.

    Raises:
        OwnModelError: it does not have the form.
    """
    try:
        return OwnModel(**content)
    except ValidationError as error:
        raise OwnModelError("; ".join(_explained(found) for found in error.errors(include_url=False))) from None


def read_model(path: Path, *, taken: Collection[str], allowed: Collection[str]) -> OwnModel:
    """The model in the file at `path`, whose name is none of those `taken`, and its estimator one of those `allowed`.

    Raises:
        OwnModelError: it cannot be used; the message begins with the file.
    """
    try:
        content = read_yaml(path, "a mapping with description, owner, target and estimator")
    except YamlFileError as error:
        raise OwnModelError(str(error)) from None
    try:
        if "name" in content:
            raise OwnModelError("name: leave it out: a model is called after its file.")
        if path.stem in taken:
            raise OwnModelError(f"{path.stem} is one of Cartograph's own models: give the file another name.")
        model = own_model({"name": path.stem, **content})
        require_allowed(model, allowed)
    except OwnModelError as error:
        raise OwnModelError(f"{path}: {error}") from None
    return model


def require_allowed(model: OwnModel, allowed: Collection[str]) -> None:
    """Raise OwnModelError where the model's estimator is none of those `allowed`."""
    path = model.estimator.path
    if path not in allowed:
        raise OwnModelError(
            f"estimator.path: {path} is not allowed.{meant(path, allowed)} Allowed are {', '.join(sorted(allowed))}; "
            "CARTOGRAPH_ESTIMATORS says so, and takes others whose export is as exact."
        )


def _known(name: str) -> str:
    if name not in FEATURES:
        raise ValueError(f"there is no customer feature {name}.{meant(name, FEATURES)} docs/features.md lists them")
    return name


def _explained(found: Any) -> str:
    """A problem that pydantic found: the key, what is wrong, and what the key takes."""
    place = [str(part) for part in found["loc"]]
    fields, description = OwnModel.model_fields, None
    for part in place:
        if part in fields:
            description = fields[part].description
            inner = next(
                (t for t in (Target, Estimator, FeatureRule) if t.__name__ in str(fields[part].annotation)), None
            )
            fields = inner.model_fields if inner else {}
        elif found["type"] == "extra_forbidden":
            return f"{'.'.join(place)}: there is no such key.{meant(part, fields)} Keys: {', '.join(fields)}."
    takes = f" It takes: {description}" if description else ""
    got = "" if found["type"] in {"missing", "value_error"} else f", got {found['input']!r}"
    message = re.sub(r"^Value error, ", "", str(found["msg"]))
    return f"{'.'.join(place) or 'the file'}: {message}{got}.{takes}"

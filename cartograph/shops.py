"""Shop files: which source delivers which dataset, and the dates and currency of a shop.

The file's form and its variables only; what a source's attributes mean is decided by the source's component in
`ecom_assets.components`.
"""

from __future__ import annotations

from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cartograph.settings import PREFIX, Settings, environment
from cartograph.windows import Grain, Window, at_midnight, floor, windows
from cartograph.yaml_files import YamlFileError, read_yaml, variables_in

FOREVER = date(9999, 1, 1)
ADDING = frozenset({"ecom_assets.components.EventLogSource"})
"""Sources that may deliver a dataset beside another source: their rows are added to its rows."""


class ShopError(ValueError):
    """A shop is unknown or its file cannot be used. The message names the file and the cure."""


class SourceSpec(BaseModel):
    """One source of a shop: the component that reads it, and that component's attributes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(description="The component, e.g. `ecom_assets.components.FilesSource`.")
    datasets: dict[str, Any] = Field(min_length=1, description="What it delivers; a list, or a mapping to how.")
    attributes: dict[str, Any] = Field(default_factory=dict)

    @field_validator("datasets", mode="before")
    @classmethod
    def _list_to_mapping(cls, value: Any) -> Any:
        return dict.fromkeys(value) if isinstance(value, list) else value


class Freshness(BaseModel):
    """By when everything must have been made anew, so that somebody hears when nothing runs at all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: Literal["day", "week", "never"] = Field("day", description="How often; weekly: by Monday.")
    hour: int = Field(9, ge=0, le=23, description="By this hour, UTC: six hours after the nightly schedule.")
    severity: Literal["error", "warning"] = "warning"


class Replenishment(BaseModel):
    """How the shop orders its goods: what reorder advice is made for.

    With both costs, of one unit in one span between reviews, the service level is that at which they are least.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lead_days: int = Field(7, ge=0, le=60, description="From an order to its delivery.")
    review_days: int = Field(7, ge=1, le=60, description="From one chance to order to the next.")
    service_level: float = Field(
        0.95, ge=0.5, le=0.995, description="Share of the spans of lead and review time in which nothing shall run out."
    )
    shortage_cost: float | None = Field(None, gt=0, description="Of a unit that is asked for and not there.")
    holding_cost: float | None = Field(None, gt=0, description="Of a unit that is left over at the next review.")

    @model_validator(mode="after")
    def _both_costs(self) -> Replenishment:
        if (self.shortage_cost is None) != (self.holding_cost is None):
            raise ValueError("shortage_cost and holding_cost make a service level together: give both or none")
        return self


class Shop(BaseModel):
    """A shop: its dates (half-open, UTC), currency and sources. `end` is None for a shop that goes on.

    `name` and `file` come from where the shop was read, not from what is written there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    file: Path
    title: str
    description: str = ""
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    start: date
    end: date | None = None
    sources: tuple[SourceSpec, ...] = Field(min_length=1)
    quality: dict[str, Any] = Field(
        default_factory=dict, description="Severity and thresholds of checks, where the defaults do not fit the shop."
    )
    freshness: Freshness = Field(
        Freshness(), description="By when everything must be made anew; a shop with an end date is complete once made."
    )
    replenishment: Replenishment = Field(Replenishment(), description="Lead time, review time and service level.")
    dbt_vars: dict[str, Any] = Field(
        default_factory=dict, description="Vars of the dbt project, e.g. `holiday_country`, instead of its own."
    )

    @field_validator("end")
    @classmethod
    def _ends(cls, value: date | None) -> date | None:
        if value is not None and value > FOREVER:
            raise ValueError(f"end {value} is beyond the calendar; leave `end` out for a shop that goes on")
        return value

    @model_validator(mode="after")
    def _dates_in_order(self) -> Shop:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end {self.end} must be after start {self.start}")
        if self.start >= FOREVER:
            raise ValueError(f"start {self.start} must be before {FOREVER}")
        return self

    @model_validator(mode="after")
    def _one_source_for_a_dataset(self) -> Shop:
        names = [(name, source.type in ADDING) for source in self.sources for name in source.datasets]
        twice = sorted({name for name, adds in names if names.count((name, adds)) > 1})
        if twice:
            raise ValueError(f"more than one source delivers {', '.join(twice)}")
        return self

    @property
    def takes_events(self) -> bool:
        """Whether events that the API takes are loaded."""
        return any(source.type in ADDING for source in self.sources)

    def only_adds(self, source: SourceSpec) -> bool:
        """Whether all that `source` delivers is added to what other sources deliver of the same."""
        others = {name for other in self.sources if other.type not in ADDING for name in other.datasets}
        return source.type in ADDING and source.datasets.keys() <= others

    @property
    def datasets(self) -> frozenset[str]:
        """The names of the datasets that the shop's sources deliver."""
        return frozenset(name for source in self.sources for name in source.datasets)

    @property
    def span(self) -> Window:
        """All of the shop's time; a shop without an end date goes on for ever."""
        return Window(at_midnight(self.start), at_midnight(self.end or FOREVER))

    def windows(self, grain: Grain, now: datetime) -> list[Window]:
        """The shop's partitions, oldest first: a shop without an end date has only whole windows before `now`."""
        if self.end is not None:
            return list(windows(self.span.start, self.span.end, grain))
        ended = floor(now, grain)
        return list(windows(self.span.start, ended, grain)) if ended > self.span.start else []

    def first_window(self, grain: Grain) -> Window:
        """The shop's first partition, whether it has ended or not."""
        return next(windows(self.span.start, self.span.end, grain))


def list_shops(settings: Settings) -> list[str]:
    """The names of all shops, sorted."""
    return sorted(path.stem for path in settings.resolved_shops_dir.glob("*.yaml"))


def unknown_variables(settings: Settings) -> dict[str, str | None]:
    """The `CARTOGRAPH_…` variables that are set and that no setting or file knows, each with what may be meant."""
    files = [*settings.resolved_shops_dir.glob("*.yaml"), *([settings.alerts_file] if settings.alerts_file else [])]
    named = {name for path in files if path.is_file() for name in variables_in(path)}
    fields = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    known = sorted(name.removeprefix(PREFIX) for name in fields | named)
    meant = {
        name: next(iter(get_close_matches(name.removeprefix(PREFIX), known, n=1)), None)
        for name in sorted(environment().keys() - fields - named)
    }
    return {name: guess and f"{PREFIX}{guess}" for name, guess in meant.items()}


def load_shop(settings: Settings, name: str | None = None) -> Shop:
    """Read the file of shop `name` (by default the chosen one), with `${CARTOGRAPH_…}` variables filled in.

    Raises:
        ShopError: there is no such file, or it does not have the form of a shop file.
    """
    name = name or settings.shop
    path = settings.resolved_shops_dir / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(list_shops(settings)) or "none"
        raise ShopError(
            f"There is no shop {name!r}: {path} does not exist. Shops in {settings.resolved_shops_dir}: {known}."
        )
    try:
        content = read_yaml(path, "a mapping with title, currency, start and sources")
    except YamlFileError as error:
        raise ShopError(str(error)) from None
    for given in sorted({"name", "file"} & content.keys()):
        raise ShopError(f"{path}: leave out {given}: a shop is called after its file.")
    try:
        return Shop(name=name, file=path, **content)
    except ValidationError as error:
        raise ShopError(f"{path} cannot be used: {'; '.join(map(_told, error.errors()))}") from None


def _told(problem: Any) -> str:
    """What is wrong where; what is inside a source is not shown, as it may be a secret."""
    given = problem["input"]
    got = f", got {given!r}" if isinstance(given, str | int | float) and len(problem["loc"]) == 1 else ""
    return f"{'.'.join(map(str, problem['loc'])) or 'shop'}: {problem['msg']}{got}"

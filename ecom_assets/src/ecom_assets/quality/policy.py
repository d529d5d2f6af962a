"""What a shop's file may say of its checks: their severity and thresholds, for all datasets or for one.

    quality:
      volume_is_usual: {severity: error, z: 5}
      datasets:
        orders:
          values_are_usual: {psi: 0.4, ignored: [coupon_code]}

Defaults stand here, each with its meaning; what is done with them stands in `anomalies`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from math import exp, log
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cartograph.settings import MOST_HOURS
from cartograph.windows import Window
from ecom_assets.contracts import CONTRACTS
from ecom_assets.contracts.validation import Counts

Severity = Literal["error", "warning"]
_SCORES = "scores_are_high"
DOCUMENT = Path(__file__).parents[4] / "docs" / "quality.md"


class PolicyError(ValueError):
    """What a shop's file says under `quality` cannot be used. The message names the place and what it takes."""


class CheckPolicy(BaseModel):
    """What holds for every check."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity = Field("warning", description="`error` keeps what is downstream, and the next release, back.")


class DailyPolicy(CheckPolicy):
    """What holds for every check that compares days."""

    excused: tuple[date, ...] = Field((), description="Days that are as they should be: a holiday, a closed shop.")


class VolumePolicy(DailyPolicy):
    """`volume_is_usual`: rows of each day against the same weekday before it."""

    z: float = Field(4.0, gt=0, description="Robust standard deviations from what is expected.")
    drop_to: float = Field(0.65, gt=0, lt=1, description="And at most this share of what is expected.")
    rise_to: float = Field(2.5, gt=1, description="Or at least this multiple of it.")
    rows: int = Field(20, ge=1, description="And off by at least so many rows.")
    copied_pct: float = Field(
        40.0,
        gt=0,
        le=100,
        description="Percent of a day's rows, above what is usual, that equal another but for their key: an error.",
    )
    weeks: int = Field(8, ge=2, le=52, description="Weeks of which the same weekday is looked at.")
    fewest_weeks: int = Field(
        4, ge=1, description="A day is compared once its weekday was there so often; its noise is known 14 days later."
    )

    @model_validator(mode="after")
    def _can_judge(self) -> Self:
        if self.fewest_weeks > self.weeks:
            raise ValueError(f"fewest_weeks is {self.fewest_weeks}, and only {self.weeks} weeks are looked at")
        return self


class MixPolicy(DailyPolicy):
    """What holds for every check that compares a day's rows with those of the weeks before it."""

    base_weeks: int = Field(4, ge=2, le=8, description="Weeks before a day that it is compared with; it needs as many.")
    base_rows: int = Field(200, ge=1, description="Rows that these weeks must have.")
    fewest_rows: int = Field(
        30, ge=10, description="Shares are of so many rows, with those of the days before; the mix needs them in a day."
    )

    @property
    def base_days(self) -> int:
        """The days of `base_weeks`."""
        return 7 * self.base_weeks


class NullPolicy(MixPolicy):
    """`nulls_are_usual`: the share of empty values of each column on each day against the weeks before it."""

    z: float = Field(6.0, gt=0, description="Standard deviations of a share from what is expected.")
    points: float = Field(20.0, gt=0, le=100, description="And at least so many percentage points.")
    ignored: tuple[str, ...] = Field((), description="Columns that are not looked at.")


class ValuesPolicy(MixPolicy):
    """`values_are_usual`: the distribution of each column on each day against the weeks before it."""

    z: float = Field(5.0, gt=0, description="Numbers: robust standard deviations from the usual size or spread.")
    ratio: float = Field(1.3, gt=1, description="And at least so many times larger or smaller.")
    points: float = Field(
        40.0, gt=0, le=100, description="Zeros, and values that few rows have: so many percentage points from usual."
    )
    few_ratio: float = Field(  # one order in bulk moved ten refunds of a real shop 13-fold
        20.0, gt=1, description="The same of fewer than `fewest_rows` numbers, of which only a wrong unit can be told."
    )
    spread: float = Field(1.6, gt=1, description="Or spread so many times wider or narrower.")
    psi: float = Field(1.0, gt=0, description="Categories: population stability index above what chance gives.")
    blocking_ratio: float = Field(
        7.0,
        gt=1,
        description="A size so many times larger or smaller is an error: ten times is a wrong unit, on any day.",
    )
    ignored: tuple[str, ...] = Field((), description="Columns that are not looked at.")


class ChangesPolicy(CheckPolicy):
    """`changes_are_usual`: the numbers of each version against those of the version before it."""

    ratio: float = Field(7.0, gt=1, description="A number so many times larger or smaller than before is told.")
    blocking_pct: float = Field(
        50.0, gt=0, le=100, description="Percent of a load's versions that it takes to be an error, whatever they are."
    )
    blocking_rows: int = Field(5, ge=1, description="And at least so many versions.")


class SharePolicy(CheckPolicy):
    """A share of the delivered rows that may not be exceeded."""

    limit_pct: float = Field(ge=0, le=100, description="Percent of the delivered rows.")


CHANCE = 0.001
"""How unlikely so many quarantined rows of one of several partitions must be, where the limit is the truth."""


class Limit(NamedTuple):
    """How much of a dataset may be quarantined, in percent, and what says so."""

    pct: float
    said_by: str

    def __str__(self) -> str:
        return f"{self.said_by} allows {self.pct:g}"

    def breach(self, together: Counts, windows: Mapping[Window, Counts]) -> Breach | None:
        """Where more was quarantined than the limit: of the rows of all `windows` together, or in the worst; or None.

        One of several is judged by more than the share, as few rows may break it by chance: by how likely so many are
        to where the limit is the truth, of which exp(-n KL) is a bound (Hoeffding 1963, theorem 1).
        """
        if together.quarantined_pct > self.pct:
            return Breach(together, None)
        beyond = [window for window, counts in windows.items() if self._is_beyond_chance(counts)]
        worst = max(beyond, key=lambda window: windows[window].quarantined_pct, default=None)
        return None if worst is None else Breach(windows[worst], worst)

    def _is_beyond_chance(self, counts: Counts) -> bool:
        found, allowed = counts.quarantined_pct / 100, self.pct / 100
        if found <= allowed:
            return False
        if allowed == 0:
            return True
        sound = (1 - found) * log((1 - found) / (1 - allowed)) if found < 1 else 0.0
        return exp(-counts.delivered * (found * log(found / allowed) + sound)) < CHANCE


class Breach(NamedTuple):
    """The rows of which too many were quarantined: those of all deliveries, or of one window."""

    counts: Counts
    window: Window | None

    def __str__(self) -> str:
        return f"{self.counts.quarantined_pct:.1f} %" + (f" in {self.window.key}" if self.window else "")


class QuarantinePolicy(BaseModel):
    """`quarantine_within_limit`: rows that break their contract; too many are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit_pct: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Percent of the delivered rows; where it is not set, `CARTOGRAPH_QUARANTINE_LIMIT_PCT`.",
    )

    def limit(self, general: float) -> Limit:
        """The limit, where `general` is that of the settings."""
        if self.limit_pct is None:
            return Limit(general, "CARTOGRAPH_QUARANTINE_LIMIT_PCT")
        return Limit(self.limit_pct, "quarantine_within_limit in the shop's file")


class RepeatPolicy(SharePolicy):
    """`few_rows_repeat`: rows that are equal to another, or have its key."""


class LatePolicy(SharePolicy):
    """`few_rows_are_late`: rows that reached the shop long after they happened."""

    hours: float = Field(24.0, gt=0, le=MOST_HOURS, description="From how many hours on a row counts as late.")


class FreshPolicy(CheckPolicy):
    """`source_is_fresh`: whether the newest row is as new as the source's rhythm promises."""

    rhythms: float = Field(3.0, ge=1, description="Missed rhythms: the usual longest time between days with rows.")


class ColumnsPolicy(CheckPolicy):
    """`columns_are_known`: a new column; one that is no longer delivered is an error, whatever is said here."""


class ReadablePolicy(CheckPolicy):
    """`everything_readable`: what was left out, or has no date; a file that lacks a column that is read is an error."""


class VanishedPolicy(CheckPolicy):
    """`nothing_vanished`: rows that were loaded before and are not delivered any more."""


class DatasetPolicy(BaseModel):
    """The checks of one dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quarantine_within_limit: QuarantinePolicy = QuarantinePolicy()
    volume_is_usual: VolumePolicy = VolumePolicy()
    nulls_are_usual: NullPolicy = NullPolicy()
    values_are_usual: ValuesPolicy = ValuesPolicy()
    changes_are_usual: ChangesPolicy = ChangesPolicy()
    few_rows_are_late: LatePolicy = LatePolicy(limit_pct=5.0)
    few_rows_repeat: RepeatPolicy = RepeatPolicy(limit_pct=2.0)
    source_is_fresh: FreshPolicy = FreshPolicy()
    columns_are_known: ColumnsPolicy = ColumnsPolicy()
    everything_readable: ReadablePolicy = ReadablePolicy()
    nothing_vanished: VanishedPolicy = VanishedPolicy()


class Weights(BaseModel):
    """How much each part of a quality score counts; a part that a dataset does not have counts nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    completeness: float = Field(1, ge=0, description="Rows with every value that each row needs.")
    uniqueness: float = Field(1, ge=0, description="Rows that are delivered once.")
    validity: float = Field(1, ge=0, description="Rows whose values have the right type and keep the contract's rules.")
    consistency: float = Field(1, ge=0, description="Rows whose parents are there.")
    timeliness: float = Field(1, ge=0, description="Rows that reached the shop soon enough.")
    reconciliation: float = Field(1, ge=0, description="Rows that are in the published facts, and no others.")


class Grades(BaseModel):
    """The lowest score of each grade; below all is F."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    A: float = Field(99, ge=0, le=100, description="The lowest score with grade A.")
    B: float = Field(95, ge=0, le=100, description="The lowest score with grade B.")
    C: float = Field(90, ge=0, le=100, description="The lowest score with grade C.")
    D: float = Field(80, ge=0, le=100, description="The lowest score with grade D; below is F.")

    @model_validator(mode="after")
    def _descend(self) -> Self:
        if not self.A > self.B > self.C > self.D:
            raise ValueError(f"they must descend from A to D, and are {self.A:g}, {self.B:g}, {self.C:g}, {self.D:g}")
        return self

    def of(self, score: float) -> str:
        """The grade of a score."""
        return next((name for name, lowest in self if score >= lowest), "F")


class ScorePolicy(CheckPolicy):
    """`scores_are_high`: the quality score of each dataset and partition, 0 to 100."""

    at_least: float = Field(95, ge=0, le=100, description="The lowest score that passes.")
    weights: Weights = Weights()
    grades: Grades = Grades()


def score_policy(quality: Mapping[str, Any]) -> ScorePolicy:
    """The policy of the scores, under `scores_are_high`.

    Raises:
        PolicyError: a value is out of range, or all weights are zero.
    """
    try:
        policy = ScorePolicy.model_validate(quality.get(_SCORES) or {})
    except ValidationError as error:
        raise PolicyError(f"quality of {_SCORES}: {_told(error)}.") from None
    if not any(policy.weights.model_dump().values()):
        raise PolicyError(f"quality of {_SCORES}: one of the weights must be above zero.")
    return policy


def dataset_policy(quality: Mapping[str, Any], dataset: str) -> DatasetPolicy:
    """The policy of `dataset`: what is said of it, else what is said of all, else the defaults.

    Raises:
        PolicyError: a check or threshold is unknown, or a value is out of range.
    """
    general = {name: value for name, value in quality.items() if name not in {"datasets", _SCORES}}
    own = (quality.get("datasets") or {}).get(dataset) or {}
    defaults = DatasetPolicy().model_dump()
    try:
        merged = {
            name: {**defaults.get(name, {}), **(general.get(name) or {}), **(own.get(name) or {})}
            for name in {**defaults, **general, **own}
        }
        return DatasetPolicy.model_validate(merged)
    except TypeError:
        told = "each check takes a mapping, e.g. `volume_is_usual: {severity: error}`"
    except ValidationError as error:
        told = _told(error)
    raise PolicyError(f"quality of {dataset}: {told}. Checks: {', '.join([*defaults, _SCORES])}.")


def quarantine_limit(quality: Mapping[str, Any], general: float, dataset: str) -> Limit:
    """How much of `dataset` may be quarantined, where `general` is what the settings say of all.

    Raises:
        PolicyError: as from `dataset_policy`.
    """
    return dataset_policy(quality, dataset).quarantine_within_limit.limit(general)


def require_usable(quality: Mapping[str, Any], datasets: Collection[str]) -> None:
    """Raise PolicyError where what a shop's file says under `quality` cannot be used for the shop's `datasets`."""
    own = quality.get("datasets") or {}
    if not isinstance(own, Mapping) or (unknown := sorted(map(str, set(own) - set(datasets)))):
        told = f"the shop does not have {', '.join(unknown)}" if isinstance(own, Mapping) else "it takes a mapping"
        raise PolicyError(f"quality.datasets: {told}. Datasets: {', '.join(sorted(datasets))}.")
    for dataset in sorted(datasets):
        policy = dataset_policy(quality, dataset)
        ignored = {*policy.nulls_are_usual.ignored, *policy.values_are_usual.ignored} if dataset in own else set()
        if unknown := sorted(ignored - set(CONTRACTS[dataset].names)):
            raise PolicyError(
                f"quality.datasets.{dataset}: ignored columns that it does not have: {', '.join(unknown)}. "
                f"Columns: {', '.join(CONTRACTS[dataset].names)}."
            )
    score_policy(quality)


def _told(error: ValidationError) -> str:
    return "; ".join(": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in error.errors())


def document() -> str:
    """The page about what a shop's file may say under `quality`, in Markdown."""
    sections = [
        _section(name, field.annotation, field.default) for name, field in DatasetPolicy.model_fields.items()
    ] + [_section(_SCORES, ScorePolicy, ScorePolicy())]
    return f"{_INTRODUCTION}\n{chr(10).join(sections)}"


def _section(check: str, policy: Any, default: BaseModel) -> str:
    lines = [f"\n## {check}\n", _sentence((policy.__doc__ or "").split(": ", 1)[-1]), ""]
    lines += ["| name | default | meaning |", "| --- | --- | --- |"]
    for name, field in policy.model_fields.items():
        value = getattr(default, name)
        if isinstance(value, BaseModel):
            parts = type(value).model_fields.items()
            lines += [f"| `{name}.{part}` | {getattr(value, part)} | {f.description} |" for part, f in parts]
        else:
            lines.append(f"| `{name}` | {'none' if value in ((), None) else value} | {field.description} |")
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


_INTRODUCTION = """# The checks of a load, and how to set them

Under `quality` in a shop's file, for all datasets or, under `datasets`, for one. What a check means and what to do is
in [runbook.md](runbook.md). `make docs` wrote this page.

```yaml
quality:
  volume_is_usual: {severity: error, excused: [2024-12-25]}
  datasets:
    orders: {values_are_usual: {ratio: 1.5}}
```
"""

if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")

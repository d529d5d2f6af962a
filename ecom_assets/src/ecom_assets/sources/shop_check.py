"""What a shop's sources deliver, held against the contracts without loading it: the report of `cartograph shops check`.

Reads and validates only; printing the report belongs in `cartograph.cli`, loading rows in `ecom_assets.ingestion`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from cartograph.contracts import Contract
from cartograph.shops import Shop
from cartograph.windows import Window
from ecom_assets.contracts import CONTRACTS, referred_columns
from ecom_assets.contracts.validation import (
    EXACT_DUPLICATE,
    ContractError,
    Counts,
    Validated,
    counts_by_window,
    validate,
)
from ecom_assets.quality.policy import Limit
from ecom_assets.sources import Source, SourceError, Unreadable

SAMPLE_ROWS = 5


@dataclass(frozen=True)
class ColumnReport:
    """A column of a contract: whether the source delivers it, and in how many accepted rows it has a value."""

    name: str
    type: str
    is_mapped: bool
    is_nullable: bool
    filled_rows: int


@dataclass(frozen=True)
class Violation:
    """A reason for which rows were not accepted, with an example: the row as JSON, and where it came from."""

    reason: str
    rows: int
    message: str
    example: str
    example_source: str

    @property
    def is_merge(self) -> bool:
        """Whether the rows repeat accepted rows exactly, which loses nothing."""
        return self.reason == EXACT_DUPLICATE


@dataclass(frozen=True)
class DatasetReport:
    """What one dataset's source delivers. With `error`, the source or its mapping is at fault and the rest is empty."""

    dataset: str
    source: str
    counts: Counts = field(default_factory=Counts)
    windows: Mapping[Window, Counts] = field(default_factory=dict)
    columns: tuple[ColumnReport, ...] = ()
    sample: tuple[dict[str, object], ...] = ()
    violations: tuple[Violation, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    error: str | None = None

    @property
    def is_ok(self) -> bool:
        """Whether rows were accepted and nothing was unreadable or broken; merged duplicates are no fault."""
        return (
            self.error is None
            and self.counts.accepted > 0
            and not self.unreadable
            and all(violation.is_merge for violation in self.violations)
        )

    def obstacle(self, limit: Limit) -> str | None:
        """Why a run would stop at this dataset, if it would."""
        if self.error:
            return f"{self.dataset} cannot be read"
        if lacking := [file.name for file in self.unreadable if file.lacks_column]:
            return f"a column that {self.dataset} takes is missing in {', '.join(lacking)}"
        if CONTRACTS[self.dataset].required and not self.counts.accepted:
            return f"{self.dataset} has no row that keeps its contract"
        if breach := limit.breach(self.counts, self.windows):
            return f"{breach} of {self.dataset} break the contract, and {limit}"
        return None


@dataclass(frozen=True)
class AbsentDataset:
    """A dataset that no source delivers, and what is switched off without it."""

    dataset: str
    enables: str
    is_required: bool


@dataclass(frozen=True)
class ShopReport:
    """All datasets of a shop, parents before children, and those that it does not have."""

    shop: str
    datasets: tuple[DatasetReport, ...]
    absent: tuple[AbsentDataset, ...]

    def obstacles(self, limit: Callable[[str], Limit]) -> tuple[str, ...]:
        """What a run would stop at; `limit` says how much of a dataset may be quarantined."""
        return (
            *(f"{absent.dataset} is required and not delivered" for absent in self.absent if absent.is_required),
            *(found for report in self.datasets if (found := report.obstacle(limit(report.dataset)))),
        )


def check_shop(shop: Shop, sources: Sequence[Source], windows: Sequence[Window], late_limit: timedelta) -> ShopReport:
    """Read what `sources` deliver for the consecutive `windows` and hold it against the contracts.

    References are held against the parents' accepted rows in the same windows; those to a parent that is absent or at
    fault are not checked. Rows received more than `late_limit` after they happened are told as a load would. Memory
    holds one delivery at a time, and the parents' keys.
    """
    known_keys: dict[str, pa.Table] = {}
    reports = []
    for contract in CONTRACTS.values():
        source = next((source for source in sources if contract.dataset in source.datasets), None)
        if source is not None:
            reports.append(_check(contract, source, windows, shop.span, late_limit, known_keys))
    delivered = {report.dataset for report in reports}
    absent = tuple(
        AbsentDataset(contract.dataset, contract.enables, contract.required)
        for contract in CONTRACTS.values()
        if contract.dataset not in delivered
    )
    return ShopReport(shop.name, tuple(reports), absent)


@dataclass
class _Tally:
    """Adds up the deliveries of one dataset."""

    counts: Counts = field(default_factory=Counts)
    windows: dict[Window, Counts] = field(default_factory=dict)
    mapped: set[str] = field(default_factory=set)
    filled: Counter[str] = field(default_factory=Counter)
    sample: list[dict[str, object]] = field(default_factory=list)
    violations: dict[str, Violation] = field(default_factory=dict)
    unreadable: dict[str, Unreadable] = field(default_factory=dict)
    keys: list[pa.Table] = field(default_factory=list)

    def add(self, checked: Validated, by_window: Mapping[Window, Counts], key_columns: Sequence[str]) -> None:
        """Add one validated delivery; keep the distinct values of `key_columns`."""
        self.counts += checked.counts
        for window, counts in by_window.items():
            self.windows[window] = self.windows.get(window, Counts()) + counts
        for name in checked.accepted.column_names:
            self.filled[name] += checked.accepted.num_rows - checked.accepted[name].null_count
        self.sample += checked.accepted.slice(0, SAMPLE_ROWS - len(self.sample)).to_pylist()
        reasons = checked.quarantined["reason"]
        for reason, rows in (pair.values() for pair in reasons.value_counts().to_pylist()):
            example = checked.quarantined.slice(pc.index(reasons, reason).as_py(), 1).to_pylist()[0]
            first = self.violations.get(
                reason, Violation(reason, 0, example["message"], example["row"], example["_source"])
            )
            self.violations[reason] = replace(first, rows=first.rows + rows)
        if key_columns:
            self.keys.append(checked.accepted.group_by(key_columns).aggregate([]))


def _check(
    contract: Contract,
    source: Source,
    windows: Sequence[Window],
    span: Window,
    late_limit: timedelta,
    known_keys: dict[str, pa.Table],
) -> DatasetReport:
    """The report of one dataset; its keys are added to `known_keys` where another dataset refers to them."""
    tally = _Tally()
    key_columns = referred_columns(contract.dataset)
    try:
        for delivery in source.deliveries(contract.dataset, windows):
            tally.mapped.update(delivery.rows.column_names)
            tally.unreadable.update({file.name: file for file in delivery.unreadable})
            checked = validate(
                delivery.rows,
                contract,
                window=delivery.window,
                shop_window=span,
                known_keys=known_keys,
                late_limit=late_limit,
            )
            tally.add(checked, counts_by_window(checked, contract, windows), key_columns)
    except (SourceError, ContractError) as mistake:
        return DatasetReport(contract.dataset, type(source).__name__, error=str(mistake))
    if tally.keys:
        known_keys[contract.dataset] = pa.concat_tables(tally.keys)
    return DatasetReport(
        contract.dataset,
        type(source).__name__,
        counts=tally.counts,
        windows=tally.windows,
        columns=tuple(
            ColumnReport(
                column.name, column.type, column.name in tally.mapped, column.nullable, tally.filled[column.name]
            )
            for column in contract.columns
        ),
        sample=tuple(tally.sample),
        violations=tuple(sorted(tally.violations.values(), key=lambda found: (-found.rows, found.reason))),
        unreadable=tuple(tally.unreadable.values()),
    )

"""Readers that deliver a dataset's rows in its contract's columns: pure, without Dagster.

What a source is stands here; each kind of source has a module of its own. Rows are held against the contract
afterwards, in `ecom_assets.contracts.validation`: a source maps and never judges.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from cartograph.windows import Window
from ecom_assets.lineage import Origins


class SourceError(ValueError):
    """A source cannot deliver a dataset at all. The message names what was wrong, where, and the cure."""


@dataclass(frozen=True)
class Unreadable:
    """A piece of a source (a file, say) that could not be read; it holds back only itself.

    `lacks_column` where it could be, and has not all that is needed.
    """

    name: str
    reason: str
    cure: str
    lacks_column: bool = False


@dataclass(frozen=True)
class Delivery:
    """Rows of one dataset whose event time lies in `window`.

    `rows` has columns named as in the contract, of any type that casts to the contract's, and `_source` (string). A
    contract column that the source does not have is absent. Rows whose event time is missing, unreadable or outside
    the shop's dates come with the shop's first window, so that each row is delivered exactly once; `unplaced` says how
    many of them there are where this delivery does not have them.

    `shared_keys` has the contract's key of each row that a delivery of another window may have, too, since nobody gives
    these keys to all that deliver the dataset; the same with each delivery of a load, None where there are none.
    """

    window: Window
    rows: pa.Table
    unreadable: tuple[Unreadable, ...] = ()
    unplaced: int = 0
    shared_keys: pa.Table | None = None


class Source(Protocol):
    """Delivers datasets window by window; the same windows always give the same rows."""

    @property
    def datasets(self) -> frozenset[str]:
        """The datasets that it delivers."""
        ...

    def deliveries(self, dataset: str, windows: Sequence[Window]) -> Iterator[Delivery]:
        """Deliveries that together cover the consecutive `windows`, oldest first; a source chooses how many.

        Raises:
            SourceError: nothing can be delivered, e.g. no file is there or a mapping is wrong.
        """
        ...

    def fingerprint(self, dataset: str) -> str | None:
        """Differs where what is delivered of the dataset may differ; None of a source that always delivers the same.

        Quick: nothing is read.

        Raises:
            SourceError: what would be read cannot be found.
        """
        ...

    def origins(self, dataset: str) -> Mapping[str, str]:
        """What the dataset is read from: names (a set of files, a table) and what is there, without looking there."""
        ...

    def column_origins(self, dataset: str) -> Origins:
        """Which columns of its `origins` each column of the dataset is made of; empty where that cannot be told.

        Raises:
            SourceError: as for `deliveries`.
        """
        ...

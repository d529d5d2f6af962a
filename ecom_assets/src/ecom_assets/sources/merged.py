"""One source made of several that deliver the same dataset: a load replaces its windows by the rows of all of them.

Were each loaded by itself, the second would replace the first's. A row that both deliver is one row afterwards, as
with any that is delivered twice (`ecom_assets.contracts.validation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from cartograph.windows import Window
from ecom_assets.lineage import Origins
from ecom_assets.sources import Delivery, Source


class MergedSource:
    """A `Source` of all that `main` delivers, and of what the others, which deliver window by window, add to it."""

    def __init__(self, main: Source, others: Sequence[Source]) -> None:
        self._main, self._others = main, others

    @property
    def datasets(self) -> frozenset[str]:
        """Those of the main source: the others only add to them."""
        return self._main.datasets

    def deliveries(self, dataset: str, windows: Sequence[Window]) -> Iterator[Delivery]:
        """The main source's deliveries, each with what the others have for its window.

        Raises:
            SourceError: one of them cannot deliver.
        """
        added = [piece for one in self._adding(dataset) for piece in one.deliveries(dataset, windows)]
        told = {id(keys): keys for piece in added if (keys := piece.shared_keys) is not None}
        shared = pa.concat_tables(told.values()) if told else None
        for delivery in self._main.deliveries(dataset, windows):
            mine = [piece for piece in added if piece.window.start in delivery.window]
            yield Delivery(
                delivery.window,
                joined([delivery.rows, *(piece.rows for piece in mine)]),
                tuple(dict.fromkeys((*delivery.unreadable, *(bad for piece in mine for bad in piece.unreadable)))),
                delivery.unplaced + sum(piece.unplaced for piece in mine),
                shared,
            )

    def fingerprint(self, dataset: str) -> str | None:
        """Those of the sources that can change."""
        found = [one.fingerprint(dataset) for one in (self._main, *self._adding(dataset))]
        return " | ".join(text for text in found if text is not None) or None

    def origins(self, dataset: str) -> Mapping[str, str]:
        """Those of all of them."""
        every = (one.origins(dataset) for one in (self._main, *self._adding(dataset)))
        return {name: what for origins in every for name, what in origins.items()}

    def column_origins(self, dataset: str) -> Origins:
        """Those of all of them."""
        found: dict[str, tuple[tuple[str, str], ...]] = {}
        for one in (self._main, *self._adding(dataset)):
            for column, origins in one.column_origins(dataset).items():
                found[column] = tuple(sorted({*found.get(column, ()), *origins}))
        return found

    def _adding(self, dataset: str) -> list[Source]:
        return [one for one in self._others if dataset in one.datasets]


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all tables. A column that they type differently is text; one that a table lacks is null there."""
    main, *others = [table for table in tables if table.num_rows] or tables[:1]
    for other in others:
        differing = [
            name
            for name in main.column_names
            if name in other.column_names and main.schema.field(name).type != other.schema.field(name).type
        ]
        both = [_as_text(main, differing), _as_text(other, differing)]
        main = pa.concat_tables(both, promote_options="default")
    return main


def _as_text(table: pa.Table, names: Sequence[str]) -> pa.Table:
    for name in names:
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.string()))
    return table

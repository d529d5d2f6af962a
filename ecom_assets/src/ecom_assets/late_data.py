"""Finds the partitions that no longer are what their source delivers: rows that came late, files that were mended.

Nothing is remembered for it: what a load would give now is held against what the lake has. Which other partitions take
something of a changed row is said in `LOOKED_UP`. Pure of Dagster; who looks and who loads is in `defs.late_data`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa

from cartograph.contracts import Contract
from cartograph.lake import Lake
from cartograph.windows import Grain, Window
from cartograph.windows import windows as windows_between
from ecom_assets.contracts import CONTRACTS, referred_columns
from ecom_assets.contracts.validation import Validated
from ecom_assets.erasure import erased_in
from ecom_assets.ingestion import held, keys_in_lake, known_parents, quarantine_table, raw_table
from ecom_assets.sources import Source, Unreadable
from ecom_assets.sql import identifier, window_start

LOOKED_UP: Mapping[str, tuple[str, ...]] = {
    "customers": ("orders",),
    "products": ("order_items", "inventory", "events"),
    "orders": ("refunds",),
    "order_items": ("refunds",),
}
"""The datasets whose facts look up rows of another one, which may lie in another partition: an order the version of its
customer, a line that of its product, a refund its order, by whom it was and whether it was cancelled, and its line."""


@dataclass(frozen=True)
class Change:
    """What a load of one partition of a dataset would change: rows that it would bring, and rows that would go."""

    dataset: str
    window: Window
    new: int
    gone: int
    set_aside: int
    """How many more rows the quarantine would have."""

    def __str__(self) -> str:
        told = [f"{self.new:,} new", f"{self.gone:,} gone", f"{self.set_aside:+,} in the quarantine"]
        shown = [text for text, rows in zip(told, (self.new, self.gone, self.set_aside), strict=True) if rows]
        return f"{self.dataset} {self.window.key}: {', '.join(shown) or 'other values in the quarantine'}"


@dataclass(frozen=True)
class Repair:
    """Consecutive partitions to build anew, and the datasets to load in them; `datasets` in the order of loading."""

    windows: tuple[Window, ...]
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """The partitions that would change, and those whose facts look up a row that would, each with what it looks up."""

    changes: tuple[Change, ...]
    touched: frozenset[tuple[str, Window]]
    unreadable: tuple[Unreadable, ...]
    """What of the sources could not be read; rows that it may hold are no change."""
    unfinished: frozenset[tuple[str, Window]] = frozenset()
    """What a repair had begun to mend that did not end."""

    def mended(self) -> frozenset[tuple[str, Window]]:
        """The datasets to load again, each with a partition to load it in."""
        return frozenset((change.dataset, change.window) for change in self.changes) | self.touched | self.unfinished

    def lookups(self) -> list[str]:
        """In words, which partitions have facts that look up a row that would change."""
        told = []
        for dataset in (name for name in CONTRACTS if name in {looked_up for looked_up, _ in self.touched}):
            keys = sorted(window.key for looked_up, window in self.touched if looked_up == dataset)
            told.append(f"{', '.join(keys)}: facts that look up these {dataset}")
        return told

    def repairs(self) -> list[Repair]:
        """What mends all of it: runs over adjoining partitions, oldest first."""
        wanted: dict[Window, set[str]] = {}
        for dataset, window in self.mended():
            wanted.setdefault(window, set()).add(dataset)
        runs: list[list[Window]] = []
        for window in sorted(wanted):
            if runs and runs[-1][-1].end == window.start:
                runs[-1].append(window)
            else:
                runs.append([window])
        return [
            Repair(tuple(run), tuple(name for name in CONTRACTS if any(name in wanted[window] for window in run)))
            for run in runs
        ]


def find(
    lake: Lake,
    sources: Sequence[Source],
    loaded: Mapping[str, Sequence[Window]],
    *,
    shop_window: Window,
    grain: Grain,
    late_limit: timedelta,
    only: Collection[Window] | None = None,
) -> Findings:
    """Hold what `sources` deliver now against the `loaded` partitions of the lake, each dataset after its parents.

    Where `only` some windows are to be looked at, sources that always deliver the same are asked, too: the contract may
    have changed. While a part of a source is unreadable, rows that the lake has and that are not delivered are no
    change, since they may be what it holds.

    Raises:
        SourceError: a source delivers nothing at all.
        ContractError: it delivers a dataset without a column that each row needs.
        ErasureError: the register of erasures cannot be used.
    """
    erased = erased_in(lake)
    arriving: dict[str, list[pa.Table]] = {}
    changes: list[Change] = []
    unreadable: dict[str, Unreadable] = {}
    touched: set[tuple[str, Window]] = set()
    for contract in CONTRACTS.values():
        source = next((one for one in sources if contract.dataset in one.datasets), None)
        windows = sorted(w for w in loaded.get(contract.dataset, ()) if only is None or w in only)
        if source is None or not windows or (only is None and source.fingerprint(contract.dataset) is None):
            continue
        known_keys = {
            parent: pa.concat_tables(
                [keys, *(rows.select(keys.column_names).cast(keys.schema) for rows in arriving.get(parent, ()))]
            )
            for parent, keys in known_parents(lake, contract).items()
        }
        elsewhere: pa.Table | None = None
        for delivery in source.deliveries(contract.dataset, _consecutive(windows, grain)):
            unreadable |= {piece.name: piece for piece in delivery.unreadable}
            if elsewhere is None and delivery.shared_keys is not None:
                elsewhere = keys_in_lake(lake, contract, grain, delivery.shared_keys)
            checked = held(delivery, contract, shop_window, known_keys, late_limit, erased, elsewhere)
            with comparing(lake, contract, checked, grain, is_whole=not delivery.unreadable) as comparison:
                found = [c for w in windows if w.start in delivery.window and (c := comparison.change(w)) is not None]
                if not found:
                    continue
                changes += found
                changed = [change.window for change in found]
                for child in loaded.keys() & LOOKED_UP.get(contract.dataset, ()):
                    starts = comparison.looked_up_in(CONTRACTS[child], changed)
                    touched |= {(contract.dataset, window) for window in loaded[child] if window.start in starts}
            arriving.setdefault(contract.dataset, []).append(
                checked.accepted.select(referred_columns(contract.dataset))
            )
    return Findings(tuple(changes), frozenset(touched), tuple(unreadable.values()))


class Comparison:
    """The rows of a dataset that a load would accept or set aside (`now`, `aside`), and those of the lake."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, lake: Lake, contract: Contract, grain: Grain) -> None:
        self._connection, self._lake, self._contract, self._grain = connection, lake, contract, grain
        self._figures = {
            table: self._count(table, moment, columns)
            for table, moment, columns in (
                ("now", str(contract.event_time), contract.names),
                ("before", str(contract.event_time), contract.names),
                ("aside", "window_start", ("reason", "row")),
                ("aside_before", "window_start", ("reason", "row")),
            )
        }

    def change(self, window: Window) -> Change | None:
        """What a load of `window` would change; None where nothing would."""
        now, before, aside, aside_before = (self._figures[table].get(window.start, (0, 0)) for table in self._figures)
        if now == before and aside == aside_before:
            return None
        new, gone = self._surplus("now", "before", [window]), self._surplus("before", "now", [window])
        return Change(self._contract.dataset, window, len(new), len(gone), aside[0] - aside_before[0])

    def looked_up_in(self, child: Contract, windows: Sequence[Window]) -> set[datetime]:
        """The starts of the windows in which `child` has rows that look up one that differs in `windows`.

        Of a dataset that keeps versions, a row is looked up from its time to the next version's; the first version also
        for all time before.
        """
        key, moment = self._contract.key[0], self._contract.event_time
        differing = pa.concat_tables(
            [self._surplus("now", "before", windows), self._surplus("before", "now", windows)]
        ).select([key, moment])
        is_versioned = moment in self._contract.key
        self._connection.register("differing", differing)
        found = self._connection.execute(
            f"""
            WITH versions AS (
                SELECT {key} AS id, CAST({moment} AS TIMESTAMPTZ) AS moment FROM differing
                UNION SELECT {key}, CAST({moment} AS TIMESTAMPTZ) FROM before
            ),
            spans AS (
                SELECT
                    id,
                    moment,
                    lag(moment) OVER (PARTITION BY id ORDER BY moment) AS earlier,
                    lead(moment) OVER (PARTITION BY id ORDER BY moment) AS later
                FROM versions
            ),
            looked_up AS (
                SELECT
                    spans.id,
                    CASE WHEN $is_versioned AND earlier IS NOT NULL THEN spans.moment ELSE '-infinity' END AS since,
                    CASE WHEN $is_versioned AND later IS NOT NULL THEN later ELSE 'infinity' END AS until
                FROM spans
                SEMI JOIN differing
                    ON spans.id = differing.{key} AND spans.moment = CAST(differing.{moment} AS TIMESTAMPTZ)
            )
            SELECT DISTINCT {window_start(str(child.event_time), self._grain)}
            FROM ({self._lake.relation_sql(raw_table(child.dataset))}) AS child
            JOIN looked_up ON child.{key} = looked_up.id
                AND CAST(child.{child.event_time} AS TIMESTAMPTZ) >= looked_up.since
                AND CAST(child.{child.event_time} AS TIMESTAMPTZ) < looked_up.until
            """,
            {"is_versioned": is_versioned},
        ).fetchall()
        return {start for (start,) in found}

    def _count(self, table: str, moment: str, columns: Sequence[str]) -> dict[datetime, tuple[int, int]]:
        """For each window its rows, and a number that hangs on their content and not on their order."""
        hashed = ", ".join(identifier(name) for name in columns)
        counted = self._connection.execute(
            f"SELECT {window_start(moment, self._grain)} AS start, count(*), sum(hash({hashed})) "
            f"FROM {table} GROUP BY start"
        ).fetchall()
        return {start: (rows, content) for start, rows, content in counted}

    def _surplus(self, table: str, other: str, windows: Sequence[Window]) -> pa.Table:
        """The rows of `table` in `windows` that `other` does not have."""
        columns = ", ".join(identifier(name) for name in self._contract.names)
        moment = f"CAST({self._contract.event_time} AS TIMESTAMPTZ)"
        inside = " OR ".join(
            f"({moment} >= TIMESTAMPTZ '{window.start}' AND {moment} < TIMESTAMPTZ '{window.end}')"
            for window in windows
        )
        return self._connection.execute(
            f"SELECT {columns} FROM {table} WHERE {inside} EXCEPT ALL SELECT {columns} FROM {other} WHERE {inside}"
        ).to_arrow_table()


@contextmanager
def comparing(
    lake: Lake, contract: Contract, checked: Validated, grain: Grain, *, is_whole: bool
) -> Iterator[Comparison]:
    """What would be accepted and set aside of a dataset beside what the lake has; where not all of it could be read
    (`is_whole` is false), what was loaded earlier and is not delivered stays."""
    with lake.connect() as connection:
        connection.register("accepted", checked.accepted)
        connection.register("quarantined", checked.quarantined)
        for view, table in (("before", raw_table), ("aside_before", quarantine_table)):
            connection.execute(f"CREATE TEMP VIEW {view} AS {lake.relation_sql(table(contract.dataset))}")
        key = ", ".join(identifier(name) for name in contract.key)
        names = ", ".join(identifier(name) for name in contract.names)
        kept = "" if is_whole else f"UNION ALL SELECT {names} FROM before ANTI JOIN accepted USING ({key})"
        connection.execute(f"CREATE TEMP VIEW now AS SELECT {names} FROM accepted {kept}")
        connection.execute(f"CREATE TEMP VIEW aside AS FROM {'quarantined' if is_whole else 'aside_before'}")
        yield Comparison(connection, lake, contract, grain)


def _consecutive(windows: Sequence[Window], grain: Grain) -> list[Window]:
    """The windows from the first to the last of `windows`, without a gap."""
    return list(windows_between(windows[0].start, windows[-1].end, grain))

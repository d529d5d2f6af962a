"""Reads the event log: what the service took by `POST /v1/events` becomes rows of `events`, each event once.

A client may have sent an event again, and two processes may both have taken it: the one that was received first
counts. What another source calls by the same id, or the lake has of another day, is told apart when it is loaded. The
log's form is `cartograph.events`; that the rows join those of another source is `sources.merged`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cartograph.contracts import ARROW_TYPES
from cartograph.events import Event, read, removed, segments
from cartograph.lake import Lake
from cartograph.settings import Settings
from cartograph.windows import Window
from cartograph.words import counted
from ecom_assets.contracts.validation import EXACT_DUPLICATE
from ecom_assets.contracts.web import EVENTS
from ecom_assets.lineage import Origins
from ecom_assets.sources import Delivery, Unreadable

ORIGIN = "event_log"


class EventLogReader:
    """A `Source` of `events` from the log in `folder`, for a shop whose time is `span`.

    What the segments held that were removed since, `loaded` gives, by their names as `_source`: it is in the lake, and
    a load that did not deliver it again would take it from there.
    """

    def __init__(self, folder: Path, span: Window, loaded: Callable[[list[str]], pa.Table] | None = None) -> None:
        self._folder, self._span, self._loaded = folder, span, loaded

    @property
    def datasets(self) -> frozenset[str]:
        """The clickstream."""
        return frozenset({EVENTS.dataset})

    def deliveries(self, dataset: str, windows: Sequence[Window]) -> Iterator[Delivery]:  # noqa: ARG002 - it has one
        """One delivery for each window; damaged lines are told with each, for nobody knows when they happened."""
        rows, unreadable = self._rows()
        time, keys = rows[str(EVENTS.event_time)], rows.select(EVENTS.key) if rows.num_rows else None
        unplaced = pc.invert(_within(time, self._span))
        untold = 0 if any(self._span.start in window for window in windows) else int(pc.sum(unplaced).as_py() or 0)
        for window in windows:
            is_first = self._span.start in window
            chosen = pc.or_(_within(time, window), unplaced) if is_first else _within(time, window)
            yield Delivery(window, rows.filter(chosen), unreadable, untold, keys)
            untold = 0

    def fingerprint(self, dataset: str) -> str | None:  # noqa: ARG002 - it has one
        """The segments and their sizes; None while there is none."""
        found = [f"{path.name} {path.stat().st_size}" for path in segments(self._folder)]
        return "; ".join(found) or None

    def origins(self, dataset: str) -> dict[str, str]:  # noqa: ARG002 - it has one
        """The log."""
        return {ORIGIN: "Events that the API took by POST /v1/events."}

    def column_origins(self, dataset: str) -> Origins:  # noqa: ARG002 - it has one
        """Each column is the client's own."""
        return {column: ((ORIGIN, column),) for column in EVENTS.names}

    def _rows(self) -> tuple[pa.Table, tuple[Unreadable, ...]]:
        """The events of the log, each once, typed, with the segment as `_source`; and what could not be read."""
        first: dict[str, tuple[str, str, int, Event]] = {}
        unreadable = []
        for path in segments(self._folder):
            found = read(path)
            if found.damaged:
                unreadable.append(
                    Unreadable(
                        f"{ORIGIN}/{path.name}",
                        f"{counted(found.damaged, 'line')} of it {'is' if found.damaged == 1 else 'are'} damaged",
                        "Put the segment back from a backup, or have the clients send that day's events again",
                    )
                )
            for place, event in enumerate(found.events):
                candidate = (event[str(EVENTS.received_time)], path.name, place, event)
                known = first.get(event["event_id"])
                if known is None or candidate[:3] < known[:3]:
                    first[event["event_id"]] = candidate
        columns = {
            column.name: pa.array([event.get(column.name) for *_, event in first.values()], pa.string()).cast(
                ARROW_TYPES[column.type]
            )
            for column in EVENTS.columns
        }
        source = pa.array([f"{ORIGIN}/{name}" for _, name, *_ in first.values()], pa.string())
        rows = pa.table({**columns, "_source": source})
        gone = removed(self._folder)
        if gone and self._loaded is not None:
            earlier = self._loaded([f"{ORIGIN}/{name}" for name in gone]).select(rows.column_names)
            is_new = pc.invert(pc.is_in(rows["event_id"], value_set=earlier["event_id"].combine_chunks()))
            rows = pa.concat_tables([earlier.cast(rows.schema), rows.filter(is_new)])
        return rows, tuple(unreadable)


def reader_of(settings: Settings, span: Window) -> EventLogReader:
    """The reader of the chosen shop's log."""
    return EventLogReader(settings.events_dir, span, partial(loaded_from, Lake.from_settings(settings)))


def loaded_from(lake: Lake, sources: Sequence[str]) -> pa.Table:
    """The events in the lake that came from `sources`."""
    with lake.connect() as connection:
        relation = lake.relation_sql(f"raw.{EVENTS.dataset}")
        chosen = f"SELECT * FROM ({relation}) WHERE _source IN (SELECT unnest(?))"
        return connection.execute(chosen, [list(sources)]).to_arrow_table()


def is_loaded(lake: Lake, events: Sequence[Event]) -> bool:
    """Whether the lake has each of the events, wherever from, and none of them waits in the quarantine."""
    if not lake.exists(f"raw.{EVENTS.dataset}"):
        return False
    wanted = sorted({event["event_id"] for event in events})
    with lake.connect() as connection:
        found = connection.execute(
            f"SELECT count(DISTINCT event_id) FROM ({lake.relation_sql(f'raw.{EVENTS.dataset}')}) "
            "WHERE event_id IN (SELECT unnest(?))",
            [wanted],
        ).fetchone()
        if found != (len(wanted),):
            return False
        if not lake.exists(f"quarantine.{EVENTS.dataset}"):
            return True
        waiting = connection.execute(
            f"SELECT count(*) FROM ({lake.relation_sql(f'quarantine.{EVENTS.dataset}')}) WHERE reason <> ? "
            "AND starts_with(_source, ?) AND json_extract_string(row, '$.event_id') IN (SELECT unnest(?))",
            [EXACT_DUPLICATE, f"{ORIGIN}/", wanted],
        ).fetchone()
    return waiting == (0,)


def _within(time: pa.ChunkedArray, window: Window) -> pa.ChunkedArray:
    return pc.and_(
        pc.greater_equal(time, pa.scalar(window.start, time.type)), pc.less(time, pa.scalar(window.end, time.type))
    )

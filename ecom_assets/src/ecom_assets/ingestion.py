"""Loads a source's deliveries into the lake: validate, store the good rows, quarantine the others, count both.

Pure of Dagster. What is a good row is decided in `ecom_assets.contracts.validation`; the assets that call this are
built in `ecom_assets.components`.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from cartograph.contracts import Contract, with_provenance
from cartograph.lake import Lake, TableWriter
from cartograph.windows import Grain, Window, at_midnight
from ecom_assets.contracts.quarantine import quarantine_contract
from ecom_assets.contracts.validation import (
    EXACT_DUPLICATE,
    Counts,
    Validated,
    counts_by_window,
    extra_column,
    validate,
)
from ecom_assets.erasure import Erased, anonymised, erased_in, silenced
from ecom_assets.quality.anomalies import Anomaly
from ecom_assets.sources import Delivery, Source, Unreadable
from ecom_assets.sql import identifier, window_end, window_start

_BATCH_ROWS = 100_000


@dataclass
class LoadReport:
    """What became of a dataset's delivered rows, in all and of each window, and of those that the lake held before.

    `kept` rows were loaded earlier and not delivered now, while something was unreadable. `vanished` says by how many
    the lake and the quarantine hold fewer rows than before, but for merged ones. `stored` rows are in the lake now.
    `lost_columns` were delivered before, or in other windows, and are not any more. `unplaced` rows have no place in
    the shop's time, and neither this load nor an earlier one of the shop's first window put them into the quarantine.
    """

    counts: Counts = field(default_factory=Counts)
    windows: dict[Window, Counts] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    kept: int = 0
    vanished: int = 0
    stored: int = 0
    unplaced: int = 0
    lost_columns: tuple[str, ...] = ()
    snapshot_id: int | None = None

    @property
    def is_accounted_for(self) -> bool:
        """Whether each delivered row was accepted, merged or quarantined, and the lake holds the accepted and kept."""
        counts = self.counts
        accounted = counts.accepted + counts.merged + counts.quarantined.total()
        return counts.delivered == accounted and self.stored == counts.accepted + self.kept


@dataclass(frozen=True)
class Batch:
    """What identifies a load: when it is said to happen, and the run that does it."""

    ingested_at: datetime
    batch_id: str


def raw_table(dataset: str) -> str:
    """The lake table of a raw dataset."""
    return f"raw.{dataset}"


def quarantine_table(dataset: str) -> str:
    """The lake table of a dataset's quarantined rows."""
    return f"quarantine.{dataset}"


def load(
    lake: Lake,
    source: Source,
    contract: Contract,
    windows: Sequence[Window],
    *,
    shop_window: Window,
    grain: Grain,
    batch: Batch,
    late_limit: timedelta | None = None,
) -> LoadReport:
    """Replace the consecutive `windows` of a dataset in the lake by what `source` delivers for them.

    One atomic commit for the good rows and one for the quarantined; memory holds one delivery at a time. Running it
    again gives the same rows. References are held against the parents that are in the lake now. While something of the
    source is unreadable, rows that were loaded earlier stay, since they may be what it holds. Customers who were erased
    come in without what was theirs, however often a source delivers them. Of a key that a source shares with another
    (`Delivery.shared_keys`), the row that is in the lake in another window, or comes first in this load, is kept; that
    holds of loads in several processes, too: those of one dataset are one after another, from the first look to the
    last commit.

    Raises:
        ErasureError: the register of erasures cannot be used.
    """
    with _one_at_a_time(lake, contract):
        span = Window(windows[0].start, windows[-1].end)
        raw, quarantine = raw_table(contract.dataset), quarantine_table(contract.dataset)
        lake.ensure(raw, with_provenance(contract), grain)
        lake.ensure(quarantine, quarantine_contract(contract.dataset), grain)
        known_keys, erased = known_parents(lake, contract), erased_in(lake)
        report, before = LoadReport(), stored_rows(lake, contract, span)
        waiting, merged = _quarantined_rows(lake, contract, span)
        elsewhere: pa.Table | None = None
        with lake.overwriting(raw, span) as good, lake.overwriting(quarantine, span) as bad:
            for delivery in source.deliveries(contract.dataset, windows):
                shared = delivery.shared_keys
                if elsewhere is None and shared is not None:
                    elsewhere = keys_in_lake(lake, contract, grain, shared, outside=span)
                checked = held(delivery, contract, shop_window, known_keys, late_limit, erased, elsewhere)
                if not set(checked.accepted.column_names) <= set(good.columns):
                    lake.widen(good, raw, widened(contract, checked.counts.extra_columns), grain)
                good.write(_stamp(checked.accepted, batch))
                bad.write(_stamp(checked.quarantined, batch))
                report.counts += checked.counts
                for window, counts in counts_by_window(checked, contract, windows).items():
                    report.windows[window] = report.windows.get(window, Counts()) + counts
                report.unreadable.extend(delivery.unreadable)
                report.unplaced += delivery.unplaced
                if before and delivery.unreadable:
                    report.kept += _keep(lake, contract, delivery.window, checked.accepted, elsewhere, good)
                if waiting and delivery.unreadable:
                    waiting -= _keep_quarantined(lake, contract, delivery, bad)
                if elsewhere is not None and shared is not None:
                    found = [_keys_taken(checked.accepted, contract, shared, delivery.window)]
                    if delivery.unreadable:  # what was kept
                        found.append(keys_in_lake(lake, contract, grain, shared, inside=delivery.window))
                    elsewhere = pa.concat_tables([elsewhere, *found], promote_options="default")
        report.snapshot_id = lake.snapshot_id(raw)
        report.stored = stored_rows(lake, contract, span)
        now = report.stored + report.counts.quarantined.total() + max(0, report.counts.merged - merged)
        report.vanished = max(0, before + waiting - now)
        if report.unplaced:
            report.unplaced = max(0, report.unplaced - _unplaced_rows(lake, contract, shop_window))
        report.lost_columns = lost_columns(lake, contract, report.counts.absent_columns)
        return report


@contextmanager
def _one_at_a_time(lake: Lake, contract: Contract) -> Iterator[None]:
    """Wait for other loads of the dataset and keep later ones out; the kernel frees the lock of a killed process."""
    path = lake.settings.shop_home / "locks" / f"{raw_table(contract.dataset)}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def held(
    delivery: Delivery,
    contract: Contract,
    shop_window: Window,
    known_keys: Mapping[str, pa.Table],
    late_limit: timedelta | None,
    erased: Erased | None,
    elsewhere: pa.Table | None = None,
) -> Validated:
    """A delivery held against its contract, without what was theirs who were erased."""
    checked = validate(
        anonymised(delivery.rows, contract, erased) if erased else delivery.rows,
        contract,
        window=delivery.window,
        shop_window=shop_window,
        known_keys=known_keys,
        late_limit=late_limit,
        elsewhere=elsewhere,
    )
    return replace(checked, quarantined=silenced(checked.quarantined, erased.register)) if erased else checked


def lost_columns(lake: Lake, contract: Contract, absent: Sequence[str]) -> tuple[str, ...]:
    """Which of the `absent` columns of a loaded dataset have values in rows of the lake."""
    if not absent:
        return ()
    with lake.connect() as connection:
        counted = connection.execute(
            f"SELECT {', '.join(f'count({identifier(name)})' for name in absent)} "
            f"FROM ({lake.relation_sql(raw_table(contract.dataset))})"
        ).fetchall()[0]
    return tuple(name for name, values in zip(absent, counted, strict=True) if values)


def widened(contract: Contract, extra: Sequence[str]) -> Contract:
    """The contract of the lake table that also keeps the delivered columns `extra`, which the contract lacks."""
    stored = with_provenance(contract)
    return stored.model_copy(update={"columns": (*stored.columns, *map(extra_column, extra))})


def keys_in_lake(
    lake: Lake,
    contract: Contract,
    grain: Grain,
    keys: pa.Table,
    *,
    inside: Window | None = None,
    outside: Window | None = None,
) -> pa.Table:
    """Those of some keys that the lake holds, inside or outside of a window if one is given, with their windows.

    The form is that of `elsewhere` in `ecom_assets.contracts.validation.validate`.
    """
    names, time, window = ", ".join(map(identifier, contract.key)), str(contract.event_time), inside or outside
    place = "true" if window is None else _in(contract) if inside else f"NOT ({_in(contract)})"
    with lake.connect() as connection:
        connection.register("wanted", keys)
        return connection.execute(
            f"""
            SELECT {names}, {window_start(time, grain)} AS window_start, {window_end(time, grain)} AS window_end
            FROM ({lake.relation_sql(raw_table(contract.dataset))}) SEMI JOIN wanted USING ({names})
            WHERE {place}
            """,
            {"start": window.start, "end": window.end} if window else {},
        ).to_arrow_table()


def _keys_taken(accepted: pa.Table, contract: Contract, keys: pa.Table, window: Window) -> pa.Table:
    """Those of some keys that are among the accepted rows of a delivery of `window`, in the form of `keys_in_lake`."""
    found = accepted.select(contract.key).join(keys, list(contract.key), join_type="left semi")
    moment = pa.timestamp("us", tz="UTC")
    for name, bound in (("window_start", window.start), ("window_end", window.end)):
        found = found.append_column(pa.field(name, moment), pa.repeat(pa.scalar(bound, moment), found.num_rows))
    return found


def _keep(
    lake: Lake,
    contract: Contract,
    window: Window,
    accepted: pa.Table,
    elsewhere: pa.Table | None,
    writer: TableWriter,
) -> int:
    """Write the rows of `window` that the lake holds and whose key is neither `accepted` nor taken; their number."""
    taken = accepted.select(contract.key)
    if elsewhere is not None:
        taken = pa.concat_tables([taken, elsewhere.select(contract.key)], promote_options="default")
    same = " AND ".join(f'earlier."{name}" = taken."{name}"' for name in contract.key)
    kept = 0
    with lake.connect() as connection:
        connection.register("taken", taken)
        earlier = connection.execute(
            f"""
            SELECT * FROM ({lake.relation_sql(raw_table(contract.dataset))}) AS earlier
            WHERE {_in(contract)} AND NOT EXISTS (SELECT 1 FROM taken WHERE {same})
            """,
            {"start": window.start, "end": window.end},
        )
        for batch in earlier.to_arrow_reader(_BATCH_ROWS):
            writer.write(pa.Table.from_batches([batch]))
            kept += batch.num_rows
    return kept


def _keep_quarantined(lake: Lake, contract: Contract, delivery: Delivery, writer: TableWriter) -> int:
    """Write the rows that wait in the quarantine and come from where nothing was delivered from now; their number.

    They are what an unreadable file holds, say. Merged rows do not wait.
    """
    with lake.connect() as connection:
        connection.register("delivered", delivery.rows.select(["_source"]))
        waiting = connection.execute(
            f"""
            SELECT * FROM ({lake.relation_sql(quarantine_table(contract.dataset))})
            WHERE window_start >= $start AND window_start < $end AND reason <> $merged
                AND _source NOT IN (SELECT _source FROM delivered)
            """,
            {"start": delivery.window.start, "end": delivery.window.end, "merged": EXACT_DUPLICATE},
        ).to_arrow_table()
    writer.write(waiting)
    return len(waiting)


def _quarantined_rows(lake: Lake, contract: Contract, window: Window) -> tuple[int, int]:
    """How many rows of `window` wait in the quarantine, and how many stand there as merged."""
    reasons = lake.batches(quarantine_table(contract.dataset), window=window, columns=["reason"]).read_all()["reason"]
    merged = int(pc.sum(pc.equal(reasons, EXACT_DUPLICATE)).as_py() or 0)
    return len(reasons) - merged, merged


def _unplaced_rows(lake: Lake, contract: Contract, shop_window: Window) -> int:
    """How many quarantined rows have no place in the shop's time."""
    with lake.connect() as connection:
        counted = connection.execute(
            f"""
            SELECT count(*) FROM ({lake.relation_sql(quarantine_table(contract.dataset))})
            WHERE NOT coalesce(event_time >= $start AND event_time < $end, false)
            """,
            {"start": shop_window.start, "end": shop_window.end},
        ).fetchall()
    return int(counted[0][0])


def known_parents(lake: Lake, contract: Contract) -> Mapping[str, pa.Table]:
    """What must be known of each dataset that `contract` refers to and the lake has, each once, by dataset."""
    with lake.connect() as connection:
        return {
            reference.dataset: connection.sql(
                f"SELECT DISTINCT {', '.join(reference.parent_columns)} "
                f"FROM ({lake.relation_sql(raw_table(reference.dataset))})"
            ).to_arrow_table()
            for reference in contract.references
            if lake.exists(raw_table(reference.dataset))
        }


def stored_rows(lake: Lake, contract: Contract, window: Window) -> int:
    """How many rows of a raw dataset the lake holds in `window`."""
    return sum(
        batch.num_rows for batch in lake.batches(raw_table(contract.dataset), window=window, columns=[contract.key[0]])
    )


def late_rows(
    lake: Lake, contract: Contract, window: Window, after: timedelta, samples: int
) -> tuple[int, int, list[str]]:
    """How many rows of `window` were received later than `after` they happened, of how many, and some of their keys."""
    late = f"{contract.received_time} - {contract.event_time} > $after"
    with lake.connect() as connection:
        ((rows, of, keys),) = connection.execute(
            f"""
            SELECT count(*) FILTER ({late}), count(*), (array_agg({_key(contract)}) FILTER ({late}))[:{samples}]
            FROM ({lake.relation_sql(raw_table(contract.dataset))}) WHERE {_in(contract)}
            """,
            {"after": after, "start": window.start, "end": window.end},
        ).fetchall()
    return rows, of, keys or []


def examples(lake: Lake, contract: Contract, anomalies: Sequence[Anomaly], samples: int) -> list[str]:
    """Keys of some rows that stand out on the days of `anomalies`."""
    days = " OR ".join(
        f"(CAST({contract.event_time} AS DATE) = DATE '{anomaly.day}' AND ({anomaly.condition}))"
        for anomaly in anomalies
    )
    start, end = min(a.day for a in anomalies), max(a.day for a in anomalies)
    with lake.connect() as connection:
        found = connection.execute(
            f"""
            SELECT {_key(contract)} FROM ({lake.relation_sql(raw_table(contract.dataset))})
            WHERE {_in(contract)} AND ({contract.steady}) AND ({days})
            LIMIT {samples}
            """,
            {"start": at_midnight(start), "end": at_midnight(end) + timedelta(days=1)},
        ).fetchall()
    return [key for (key,) in found]


def _key(contract: Contract) -> str:
    """A row's key as text."""
    return f"concat_ws(', ', {', '.join(identifier(name) for name in contract.key)})"


def _in(contract: Contract) -> str:
    """Whether a row lies in the window from $start to before $end."""
    moment = f"CAST({contract.event_time} AS TIMESTAMPTZ)"
    return f"{moment} >= $start AND {moment} < $end"


def quarantine_summary(lake: Lake, dataset: str) -> pa.Table:
    """The quarantined rows of a dataset by reason: reason, rows, an example row and its source; most frequent first."""
    with lake.connect() as connection:
        return connection.sql(
            f"""
            SELECT reason, count(*) AS row_count, min(message) AS message, arg_min(row, row) AS example,
                arg_min(_source, row) AS example_source
            FROM ({lake.relation_sql(quarantine_table(dataset))})
            GROUP BY reason
            ORDER BY row_count DESC, reason
            """
        ).to_arrow_table()


def _stamp(rows: pa.Table, batch: Batch) -> pa.Table:
    stamped = rows.append_column(
        pa.field("_ingested_at", pa.timestamp("us", tz="UTC")),
        pa.repeat(pa.scalar(batch.ingested_at, pa.timestamp("us", tz="UTC")), rows.num_rows),
    )
    return stamped.append_column("_batch_id", pa.repeat(pa.scalar(batch.batch_id), rows.num_rows))

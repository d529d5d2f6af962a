"""Loads the log of the API's predictions into the lake, each entry once, and deletes the files that are loaded.

The API may be writing while this reads: what it has not finished is left for the next load. The files' form is in
`cartograph.prediction_log`; the asset is in `defs/ingestion`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cartograph.contracts import with_provenance
from cartograph.lake import Lake
from cartograph.prediction_log import Entry, drop_unheld, parse, segments, whole_lines
from cartograph.windows import Grain
from ecom_assets.contracts.serving import PREDICTION_LOG
from ecom_assets.ingestion import Batch, raw_table

TABLE = raw_table(PREDICTION_LOG.dataset)


@dataclass(frozen=True)
class LogReport:
    """What became of the lines of the log. `known` were loaded before, `repeated` are twice in it.

    `stored` of its entries are in the lake now. `unreadable` has the place of each line that is not an entry.
    """

    files: int
    deleted: int
    delivered: int
    added: int
    known: int
    repeated: int
    stored: int
    unreadable: tuple[str, ...]
    snapshot_id: int | None

    @property
    def is_accounted_for(self) -> bool:
        """Whether each line is in the lake once, or told to be unreadable."""
        accounted = self.stored + self.repeated + len(self.unreadable)
        return self.delivered == accounted and self.stored == self.added + self.known


def load_log(lake: Lake, folder: Path, *, grain: Grain, batch: Batch) -> LogReport:
    """Add the entries of the log in `folder` that the lake lacks, as one commit, and delete what no process writes.

    A load that was killed anywhere is made good by the next: files go after the commit, and entries have ids.

    Raises:
        LakeError: the table cannot be written.
        OSError: a file cannot be read.
    """
    lake.ensure(TABLE, with_provenance(PREDICTION_LOG), grain)
    files, unreadable, delivered = segments(folder), [], 0
    sizes: dict[Path, int] = {}
    entries: dict[str, tuple[Entry, str]] = {}
    for path in files:
        sizes[path] = path.stat().st_size  # before it is read: what is deleted was read to here at least
        for number, text in enumerate(whole_lines(path), 1):
            delivered += 1
            entry = parse(text)
            if entry is None:
                unreadable.append(f"{path.name}, line {number}")
            else:
                entries.setdefault(entry.prediction_id, (entry, path.name))
    known = _among(lake, list(entries))
    new = _table([found for key, found in entries.items() if key not in known], batch)
    if len(new):
        lake.upsert(TABLE, new, PREDICTION_LOG.key)
    stored = len(_among(lake, list(entries)))
    whole = stored == len(entries)
    return LogReport(
        files=len(files),
        deleted=sum(drop_unheld(path, sizes[path]) for path in files) if whole else 0,
        delivered=delivered,
        added=len(new),
        known=len(known),
        repeated=delivered - len(entries) - len(unreadable),
        stored=stored,
        unreadable=tuple(unreadable),
        snapshot_id=lake.snapshot_id(TABLE),
    )


def _among(lake: Lake, ids: list[str]) -> set[str]:
    """Those of `ids` that the lake has."""
    if not ids:
        return set()
    with lake.connect() as connection:
        connection.register("logged", pa.table({"prediction_id": pa.array(ids, pa.string())}))
        found = connection.execute(
            f"SELECT DISTINCT prediction_id FROM ({lake.relation_sql(TABLE)}) SEMI JOIN logged USING (prediction_id)"
        ).fetchall()
    return {prediction_id for (prediction_id,) in found}


def _table(found: list[tuple[Entry, str]], batch: Batch) -> pa.Table:
    return with_provenance(PREDICTION_LOG).arrow_table(
        [(*entry.model_dump().values(), batch.ingested_at, source, batch.batch_id) for entry, source in found]
    )

"""Factories for tests of the lake: a small dataset, its rows by month, and what a table holds."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from cartograph.contracts import Column, Contract
from cartograph.lake import Lake
from cartograph.settings import load_settings
from cartograph.windows import Window, advance

VISITS = Contract(
    dataset="visits",
    grain="A visit.",
    key=("visit_id",),
    event_time="visited_at",
    columns=(
        Column(name="visit_id", type="bigint", description="The visit."),
        Column(name="visited_at", type="timestamp", description="When it was."),
        Column(name="amount", type="money", description="What was spent."),
        Column(name="note", type="string", nullable=True, description="A remark."),
    ),
)
TABLE = "raw.visits"


def make_lake(home: Path, **settings: Any) -> Lake:
    return Lake.from_settings(load_settings(_env_file=None, home=home, **settings))


def make_visits(lake: Lake, months: Iterable[int] = (), *, rows: int = 4) -> Lake:
    """The lake with a monthly table of visits that has `rows` in each of `months`, one commit for each."""
    lake.ensure(TABLE, VISITS, "monthly")
    for number in months:
        overwrite(lake, month(number), visits_in(month(number), rows))
    return lake


def month(number: int) -> Window:
    """The month `number` months after January 2024."""
    start = datetime(2024 + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return Window(start, advance(start, "monthly"))


def days(first: int, last: int) -> Window:
    """From the first day to before the last, counted from 1 January 2024."""
    origin = datetime(2024, 1, 1, tzinfo=UTC)
    return Window(origin + timedelta(days=first), origin + timedelta(days=last))


def visits(rows: Sequence[tuple[int, datetime, str | None]]) -> pa.Table:
    """Visits of (id, time, note); the amount is the id."""
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table(
        {
            "visit_id": pa.array(columns[0], pa.int64()),
            "visited_at": pa.array(columns[1], pa.timestamp("us", tz="UTC")),
            "amount": pa.array([Decimal(number) for number in columns[0]], pa.decimal128(18, 2)),
            "note": pa.array(columns[2], pa.string()),
        }
    )


def visits_in(window: Window, rows: int = 4, *, note: str = "first") -> pa.Table:
    """Visits spread evenly over `window`; their ids are unique to their time."""
    step = (window.end - window.start) / rows
    times = [window.start + step * number for number in range(rows)]
    return visits([(int(at.timestamp()), at, note) for at in times])


def overwrite(lake: Lake, window: Window | None, *rows: pa.Table, table: str = TABLE) -> None:
    with lake.overwriting(table, window) as writer:
        for some in rows:
            writer.write(some)


def content(lake: Lake, table: str = TABLE, snapshot_id: int | None = None) -> list[dict[str, Any]]:
    """All rows of a table, in a fixed order."""
    return sorted(lake.batches(table, snapshot_id=snapshot_id).read_all().to_pylist(), key=repr)


def data_paths(lake: Lake, table: str = TABLE) -> set[Path]:
    """The data files in the table's folder, whoever refers to them."""
    return set((lake.settings.shop_home / "lake").joinpath(*table.split(".")).rglob("*.parquet"))

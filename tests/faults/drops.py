"""A shop that drops its files each day, and everything that can be wrong with what it drops.

Each fault says what happens to the files, which check or reason of the quarantine must tell of it, and what becomes
of the rows. `test_drops` plants each alone; `trust_page` lists them.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.csv
import yaml

from cartograph.windows import Window, at_midnight, windows
from ecom_assets.contracts import CONTRACTS
from ecom_assets.contracts.validation import validate
from ecom_assets.simulator import SimulatedShop, SimulatorConfig

DATASETS = ("customers", "products", "orders", "order_items", "payments", "events", "inventory")
START, MONTH, END = date(2024, 1, 1), date(2024, 4, 1), date(2024, 5, 1)
DAY = date(2024, 4, 17)
"""The day on which most faults happen: a Wednesday in the last month."""

Outcome = Literal["kept back", "set aside", "harmless"]
"""Kept back: a blocking check fails, and what is downstream and the next release wait. Set aside: the bad rows are in
the quarantine and all good ones in the lake. Harmless: the lake holds exactly the good rows."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the files of a dataset, who tells of it, and what becomes of the rows."""

    name: str
    dataset: str
    damage: Callable[[Path], None]
    told_by: str
    outcome: Outcome
    whole: bool = False
    """Whether the run is over the whole history: rows of which nobody knows the partition come with the first."""


def write_drops(root: Path) -> Path:
    """Write the shop's files, a folder for each dataset and a file for each day of the last month; the shop's file."""
    config = SimulatorConfig(
        customers=2500, start=START, end=END, seed=5, duplicate_rate=0, invalid_rate=0, schema_drift_after=1
    )
    shop, span = SimulatedShop(config), Window(at_midnight(START), at_midnight(END))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for dataset in DATASETS:
            folder = root / "drops" / dataset
            folder.mkdir(parents=True)
            contract = CONTRACTS[dataset]
            for delivery in shop.deliveries(dataset, list(windows(span.start, span.end, "monthly"))):
                checked = validate(
                    delivery.rows, contract, window=delivery.window, shop_window=span, known_keys={}
                ).accepted
                connection.register("delivered", checked)
                day = f"CAST({contract.event_time} AS DATE)"
                file = f"if({day} >= DATE '{MONTH}', CAST({day} AS VARCHAR), strftime({day}, '%Y-%m'))"
                for (name,) in connection.execute(f"SELECT DISTINCT {file} FROM delivered ORDER BY 1").fetchall():
                    rows = connection.execute(
                        f"SELECT * EXCLUDE (_source) FROM delivered WHERE {file} = ? ORDER BY ALL", [name]
                    ).to_arrow_table()
                    _append(folder / f"{name}.csv", rows)
    shop_file = root / "shops" / "drops.yaml"
    shop_file.parent.mkdir()
    shop_file.write_text(yaml.safe_dump(_shop_file(root), sort_keys=False), encoding="utf-8")
    return shop_file


def _append(path: Path, rows: pa.Table) -> None:
    options = pyarrow.csv.WriteOptions(include_header=not path.exists(), quoting_style="needed")
    with path.open("ab") as sink:
        pyarrow.csv.write_csv(rows, sink, options)


def _shop_file(root: Path) -> dict[str, object]:
    """The shop: files as they are, and every check an error, as a team has it that looks at each alert."""
    strict = ("volume_is_usual", "nulls_are_usual", "values_are_usual", "source_is_fresh", "few_rows_are_late")
    said = (*strict, "everything_readable")
    return {
        "title": "A shop that drops files",
        "currency": "EUR",
        "start": START,
        "end": END,
        "quality": {check: {"severity": "error"} for check in said},
        "sources": [
            {
                "type": "ecom_assets.components.FilesSource",
                "attributes": {
                    "files": {
                        name: {"path": str(root / "drops" / name / "*.csv*"), "format": "csv"} for name in DATASETS
                    }
                },
                "datasets": {
                    name: {
                        "select": f"SELECT * EXCLUDE (_file, _line), _file || ' line ' || _line AS _source FROM {name}"
                    }
                    for name in DATASETS
                },
            }
        ],
    }


# --- what can happen to files


def of_day(folder: Path, day: date = DAY) -> Path:
    """The file of a day."""
    return folder / f"{day.isoformat()}.csv"


def rewritten(select: str) -> Callable[[Path], None]:
    """The file of the day as `select` makes it of the table `day`, whose values are text."""

    def damage(folder: Path) -> None:
        path = of_day(folder)
        with duckdb.connect() as connection:
            connection.execute("CREATE TABLE day AS SELECT * FROM read_csv(?, all_varchar=true)", [str(path)])
            rows = connection.execute(select).to_arrow_table()
        path.unlink()
        _append(path, rows)

    return damage


def replaced(changed: str, where: str = "true") -> Callable[[Path], None]:
    """The file of the day with one column changed in the rows `where`: `changed` is `expression AS column`."""
    expression, column = changed.rsplit(" AS ", 1)
    return rewritten(
        f"SELECT * REPLACE (CAST(CASE WHEN {where} THEN CAST({expression} AS VARCHAR) ELSE {column} END AS VARCHAR) "
        f"AS {column}) FROM day"
    )


def as_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """The file of the day with other bytes."""

    def damage(folder: Path) -> None:
        of_day(folder).write_bytes(change(of_day(folder).read_bytes()))

    return damage


def without_days(first: date, last: date = END) -> Callable[[Path], None]:
    """No files for the days from `first` to before `last`."""

    def damage(folder: Path) -> None:
        for number in range((last - first).days):
            of_day(folder, first + timedelta(days=number)).unlink(missing_ok=True)

    return damage


def dropped_again(folder: Path) -> None:
    """The file of the day is there under another name, too."""
    (folder / "again.csv").write_bytes(of_day(folder).read_bytes())


def dropped_again_changed(folder: Path) -> None:
    """As `dropped_again`, with another value in each row."""
    good = of_day(folder).read_bytes()
    replaced("'desktop' AS device")(folder)
    of_day(folder).rename(folder / "again.csv")
    of_day(folder).write_bytes(good)


def cut_archive(folder: Path) -> None:
    """The file of the day is packed, and the archive was cut short on its way."""
    packed = gzip.compress(of_day(folder).read_bytes())
    of_day(folder).unlink()
    (folder / f"{DAY}.csv.gz").write_bytes(packed[: len(packed) // 2])


def empty(folder: Path) -> None:
    """The file of the day is there, and has nothing in it."""
    of_day(folder).write_bytes(b"")


def picture(folder: Path) -> None:
    """Somebody dropped a picture in the place of the day's file."""
    of_day(folder).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)


def cents_of_all_products(folder: Path) -> None:
    """The source delivers all products anew on the day, with their list prices in cents."""
    changed = "CAST(list_price AS DECIMAL(18, 4)) * 100 AS list_price, TIMESTAMPTZ '{day} 06:00:00Z' AS updated_at"
    with duckdb.connect() as connection:
        files = str(folder / "*.csv")
        rows = connection.execute(
            f"""
            SELECT * REPLACE ({changed.format(day=DAY)}) FROM read_csv(?, all_varchar=true, union_by_name=true)
            QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY updated_at DESC) = 1 ORDER BY product_id
            """,
            [files],
        ).to_arrow_table()
    _append(folder / f"{DAY}-again.csv", rows)


HALF = "hash(event_id) % 2 = 0"
ROBOTS = rewritten("""
    SELECT * EXCLUDE (copy) REPLACE (event_id || '-' || copy AS event_id)
    FROM day, range(4) AS copies (copy)""")
FAULTS = (
    # --- files
    Fault(
        "a file is cut short in the middle of a line",
        "events",
        as_bytes(lambda b: b[: len(b) * 3 // 5 + 7]),
        "everything_readable",
        "kept back",
    ),
    Fault("a packed file is cut short", "orders", cut_archive, "everything_readable", "kept back"),
    Fault(
        "a file is in another encoding",
        "customers",
        as_bytes(lambda b: b.decode().encode("utf-16")),
        "everything_readable",
        "kept back",
    ),
    Fault("a picture lies where a file should", "events", picture, "everything_readable", "kept back"),
    Fault(
        "a quotation mark is never closed",
        "orders",
        as_bytes(lambda b: b.replace(b'"completed","', b'"completed,"', 1)),
        "everything_readable",
        "kept back",
    ),
    Fault("a file is empty", "events", empty, "everything_readable", "kept back"),
    Fault(
        "a file has its header only",
        "events",
        as_bytes(lambda b: b.split(b"\n")[0] + b"\n"),
        "volume_is_usual",
        "kept back",
    ),
    Fault(
        "lines end as on Windows, after a byte order mark",
        "orders",
        as_bytes(lambda b: b"\xef\xbb\xbf" + b.replace(b"\n", b"\r\n")),
        "",
        "harmless",
    ),
    # --- whole days
    Fault("a day is missing", "orders", without_days(DAY, DAY + timedelta(1)), "volume_is_usual", "kept back"),
    Fault(
        "the source has stood still for ten days",
        "orders",
        without_days(date(2024, 4, 21)),
        "source_is_fresh",
        "kept back",
    ),
    Fault("a month is missing", "payments", without_days(MONTH), "source_is_fresh", "kept back"),
    Fault("a day is dropped twice", "order_items", dropped_again, "few_rows_repeat", "harmless"),
    Fault("a day is dropped again with other values", "events", dropped_again_changed, "duplicate_key", "kept back"),
    Fault(
        "a day is dropped again under other numbers",
        "orders",
        rewritten("FROM day UNION ALL SELECT * REPLACE ('A' || order_id AS order_id) FROM day"),
        "volume_is_usual",
        "kept back",
    ),
    Fault("robots make four times the events", "events", ROBOTS, "volume_is_usual", "kept back"),
    # --- columns
    Fault(
        "a column is new",
        "payments",
        rewritten("SELECT *, 'none' AS voucher FROM day"),
        "columns_are_known",
        "harmless",
    ),
    Fault(
        "a column that each row needs is missing",
        "orders",
        rewritten("SELECT * EXCLUDE (order_id) FROM day"),
        "everything_readable",
        "kept back",
    ),
    Fault(
        "a column that may be empty is missing",
        "events",
        rewritten("SELECT * EXCLUDE (device) FROM day"),
        "everything_readable",
        "kept back",
    ),
    Fault(
        "two columns have changed places",
        "order_items",
        rewritten("SELECT * REPLACE (unit_price AS quantity, quantity AS unit_price) FROM day"),
        "wrong_type:quantity",
        "kept back",
    ),
    Fault(
        "a header names two amounts the wrong way round",
        "orders",
        rewritten("SELECT * REPLACE (total_amount AS subtotal_amount, subtotal_amount AS total_amount) FROM day"),
        "total_ties_out",
        "kept back",
    ),
    # --- values
    Fault(
        "amounts are in cents",
        "payments",
        replaced("CAST(amount AS DECIMAL(18, 2)) * 100 AS amount"),
        "values_are_usual",
        "kept back",
    ),
    Fault(
        "prices have doubled",
        "order_items",
        replaced("CAST(unit_price AS DECIMAL(18, 4)) * 2 AS unit_price"),
        "values_are_usual",
        "kept back",
    ),
    Fault(
        "all amounts are 0",
        "payments",
        replaced("0 AS amount"),
        "values_are_usual",
        "kept back",
    ),
    Fault("list prices are in cents", "products", cents_of_all_products, "changes_are_usual", "kept back"),
    Fault(
        "all orders of a day are cancelled",
        "orders",
        replaced("'cancelled' AS status"),
        "values_are_usual",
        "kept back",
    ),
    Fault(
        "amounts have a decimal comma",
        "payments",
        replaced("replace(amount, '.', ',') AS amount", "hash(payment_id) % 3 = 0"),
        "wrong_type:amount",
        "set aside",
    ),
    Fault(
        "amounts are no numbers",
        "payments",
        replaced("'Infinity' AS amount", "hash(payment_id) % 3 = 0"),
        "wrong_type:amount",
        "set aside",
    ),
    Fault(
        "a quantity is below zero",
        "order_items",
        replaced("'-1' AS quantity", "line_number = '2'"),
        "quantity_positive",
        "set aside",
    ),
    Fault(
        "stock is below zero",
        "inventory",
        replaced("'-3' AS quantity_on_hand", "hash(product_id) % 9 = 0"),
        "stock_not_negative",
        "set aside",
    ),
    Fault(
        "a state that nobody knows",
        "payments",
        replaced("'maybe' AS status", "hash(payment_id) % 3 = 0"),
        "not_accepted:status",
        "set aside",
    ),
    Fault(
        "keys are empty",
        "orders",
        replaced("'' AS order_id", "hash(order_id) % 9 = 0"),
        "missing_value:order_id",
        "set aside",
    ),
    Fault(
        "numbers have a space before them",
        "order_items",
        replaced("' ' || order_id AS order_id", "hash(order_id) % 9 = 0"),
        "padded:order_id",
        "set aside",
    ),
    Fault(
        "births lie a century ahead",
        "customers",
        replaced("CAST(birth_date AS DATE) + INTERVAL 100 YEAR AS birth_date"),
        "born_before_registered",
        "set aside",
    ),
    Fault(
        "lines of products that do not exist",
        "order_items",
        replaced("'P-none' AS product_id", "hash(order_id) % 9 = 0"),
        "orphan:product_id",
        "set aside",
    ),
    Fault(
        "dates that do not exist",
        "payments",
        replaced("'2024-02-31 10:00:00' AS paid_at", "hash(payment_id) % 3 = 0"),
        "wrong_type:paid_at",
        "set aside",
        whole=True,
    ),
    Fault(
        "dates that do not exist, in a run of later days",
        "payments",
        replaced("'2024-02-31 10:00:00' AS paid_at", "hash(payment_id) % 3 = 0"),
        "everything_readable",
        "kept back",
    ),
    Fault(
        "times in the future",
        "events",
        replaced("'2099-01-01 10:00:00Z' AS received_at", "hash(event_id) % 5 = 0"),
        "too_late",
        "set aside",
    ),
    Fault(
        "a clock is two days behind",
        "events",
        replaced("CAST(occurred_at AS TIMESTAMPTZ) - INTERVAL 2 DAY AS occurred_at", "event_type NOT LIKE 'email%'"),
        "volume_is_usual",
        "kept back",
    ),
    Fault(
        "local time is taken for UTC",
        "events",
        replaced("CAST(occurred_at AS TIMESTAMPTZ) + INTERVAL 2 HOUR AS occurred_at"),
        "received_after_occurred",
        "kept back",
    ),
    Fault("a category explodes", "events", replaced("hash(event_id) AS device", HALF), "values_are_usual", "kept back"),
    Fault(
        "a column goes empty",
        "events",
        replaced("NULL AS device", "hash(event_id) % 3 > 0"),
        "nulls_are_usual",
        "kept back",
    ),
)

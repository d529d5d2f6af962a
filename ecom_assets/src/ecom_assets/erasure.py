"""Takes an erased customer out of a dataset's rows, the same way when they are loaded and when they are in the lake.

By the contract: the customer's id becomes a pseudonym, every column that is tagged as personal data (`Column.pii`) is
emptied, and all else stays: amounts, dates and products, so that totals do too. Pure, but for what asks the lake whose
the rows are. Who was erased is `cartograph.erasure`; `ecom_assets.ingestion` and `cartograph.cli.erase` call this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cartograph.contracts import PROVENANCE, Column, Contract
from cartograph.erasure import Register
from cartograph.events import Event, read, rewrite, segments
from cartograph.lake import Lake
from cartograph.settings import Settings
from ecom_assets.contracts.web import EVENTS

CUSTOMER, ORDER = "customer_id", "order_id"
"""What every contract calls the customer and the order: by these a row is known to be a customer's."""
IDENTIFYING = ("email", "phone", "device", "payment")
"""Kinds of personal data that identify whom they belong to, where no one else has the same."""
SILENT = "{}"
"""The content that is left of a quarantined row in which an erased customer is named where none was expected."""
_PROVENANCE = frozenset(column.name for column in PROVENANCE)
_WORD = re.compile(r"""[^\s"',:;|<>(){}\[\]\\]+""")


@dataclass(frozen=True)
class Erased:
    """Whose rows are changed: the customers in the register, and the `orders` that the lake knows to be theirs."""

    register: Register
    orders: pa.Array


def erased_in(lake: Lake) -> Erased | None:
    """The erased customers of the lake's shop; None where there are none, which is found out by one look at a folder.

    Raises:
        ErasureError: the register cannot be used.
    """
    register = Register.of(lake.settings)
    return Erased(register, orders_of(lake, register.pseudonyms)) if register.entries else None


def known_erased(settings: Settings) -> Erased:
    """The erased customers of the chosen shop, without their orders: for who cannot ask the lake at each row.

    Raises:
        ErasureError: the register cannot be used.
    """
    return Erased(Register.of(settings), pa.array([], pa.string()))


def orders_of(lake: Lake, customers: list[str]) -> pa.Array:
    """The ids of the orders of `customers` in the lake."""
    if not lake.exists("raw.orders"):
        return pa.array([], pa.string())
    with lake.connect() as connection:
        found = connection.execute(
            f"SELECT DISTINCT {ORDER} FROM ({lake.relation_sql('raw.orders')}) WHERE {CUSTOMER} IN (SELECT unnest(?))",
            [customers],
        )
        return found.to_arrow_table()[ORDER].combine_chunks()


def anonymised(rows: pa.Table, contract: Contract, erased: Erased) -> pa.Table:
    """`rows` without the erased customers; the very same table where none of them has a row.

    A row is theirs by its customer, or else by its order. Theirs lose every column tagged as personal data, and every
    column that the contract does not know, since nobody has said what it holds. What cannot be empty gets a stand-in
    that is the same for the same value: the visits of a browser stay what they are. A row of no known customer loses
    the device that only an erased one used; any row, what names one in a column that the contract does not know.

    Args:
        rows: as delivered (`Delivery`), as text, or as in the lake, with or without provenance.
        contract: the dataset's contract.
        erased: whose rows are changed.
    """
    register = erased.register
    has_customer = CUSTOMER in contract.names and CUSTOMER in rows.column_names
    mine = pa.repeat(False, rows.num_rows)
    if has_customer:
        rows, mine = _renamed(rows, register)
    if ORDER in contract.names and ORDER in rows.column_names:
        mine = pc.or_(mine, pc.is_in(_text(rows[ORDER]), value_set=erased.orders))
    for name in rows.column_names:
        column = next((column for column in contract.columns if column.name == name), None)
        if name in _PROVENANCE or (column is not None and column.pii is None):
            continue
        chosen = mine
        if column is None:
            chosen = pc.or_(
                mine, _told(rows[name], register.pseudonym if name.endswith(CUSTOMER) else register.is_known)
            )
        elif column.pii == "device" and has_customer:
            logged_out = pc.if_else(_is_empty(rows[CUSTOMER]), _text(rows[name]), pa.scalar(None, pa.string()))
            chosen = pc.or_(mine, _told(logged_out, register.is_known))
        chosen = pc.and_(chosen, pc.is_valid(rows[name]))
        if pc.any(chosen).as_py():
            rows = _with(rows, name, _blank(rows[name], chosen, column, register))
    return rows


def events_without(erased: Erased) -> Callable[[Sequence[Event]], list[Event]]:
    """What takes the erased customers out of events of the log (`cartograph.events`), as a load takes them out."""

    def change(events: Sequence[Event]) -> list[Event]:
        columns = {name: pa.array([event.get(name) for event in events], pa.string()) for name in EVENTS.names}
        rows = anonymised(pa.table(columns), EVENTS, erased).to_pylist()
        return [{name: value for name, value in row.items() if value is not None} for row in rows]

    return change


def renamed(rows: pa.Table, register: Register) -> pa.Table:
    """`rows` with the pseudonyms of erased customers; the very same table where it has none of them."""
    return _renamed(rows, register)[0]


def silenced(quarantined: pa.Table, register: Register) -> pa.Table:
    """Quarantined rows, of which those that still name an erased customer have lost their content.

    Columns may be swapped and values garbled in a row that broke its contract, so each word of it is looked at.
    """
    texts = quarantined["row"].to_pylist()
    kept = [SILENT if any(map(register.is_known, _words(text))) else text for text in texts]
    return quarantined if kept == texts else _with_content(quarantined, kept)


def anonymised_quarantine(rows: pa.Table, contract: Contract, erased: Erased) -> pa.Table:
    """Rows of the lake's quarantine of the contract's dataset as a load of the same rows would leave them now."""
    contents = [json.loads(text) for text in rows["row"].to_pylist()]
    names = list(dict.fromkeys(name for content in contents for name in content))
    if not names:
        return rows
    delivered = pa.table({name: pa.array([content.get(name) for content in contents], pa.string()) for name in names})
    clean = anonymised(delivered, contract, erased)
    if clean is not delivered:
        texts = [
            json.dumps({name: row[name] for name in content}, ensure_ascii=False, separators=(",", ":"))
            for content, row in zip(contents, clean.to_pylist(), strict=True)
        ]
        rows = _with_content(rows, texts)
    return silenced(rows, erased.register)


def _with_content(quarantined: pa.Table, texts: list[str]) -> pa.Table:
    position = quarantined.column_names.index("row")
    return quarantined.set_column(position, quarantined.schema.field("row"), pa.array(texts, pa.string()))


def _with(rows: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    """`rows` with other values in a column; the very same where they are equal."""
    if values.equals(rows[name]):
        return rows
    return rows.set_column(rows.column_names.index(name), rows.schema.field(name).with_type(values.type), values)


def _renamed(rows: pa.Table, register: Register) -> tuple[pa.Table, pa.Array]:
    """`rows` with pseudonyms, and which of them are of an erased customer."""
    if CUSTOMER not in rows.column_names:
        return rows, pa.repeat(False, rows.num_rows)
    ids = _text(rows[CUSTOMER])
    names = _mapped(ids, register.pseudonym)
    mine = pc.is_valid(names)
    if not pc.any(mine).as_py():
        return rows, mine
    return _with(rows, CUSTOMER, pa.chunked_array([pc.if_else(mine, names, ids)])), mine


def _is_empty(values: pa.ChunkedArray) -> pa.Array:
    """Which values are null or of no length."""
    return pc.fill_null(pc.equal(_text(values), ""), True)


def _told(values: pa.ChunkedArray | pa.Array, tells: Callable[[str], object]) -> pa.Array:
    """Which of the values tell of an erased customer."""
    return pc.is_valid(_mapped(_text(values), lambda text: text if tells(text) else None))


def _blank(values: pa.ChunkedArray, chosen: pa.Array, column: Column | None, register: Register) -> pa.ChunkedArray:
    """`values`, the chosen ones empty; with a stand-in where the column cannot be."""
    if column is None or column.nullable:
        return pc.if_else(chosen, pa.scalar(None, values.type), values)
    texts = _text(values)
    aliases = _mapped(pc.if_else(chosen, texts, pa.scalar(None, pa.string())), register.alias)
    return pa.chunked_array([pc.if_else(chosen, aliases, texts)])


def _mapped(texts: pa.Array, name: Callable[[str], str | None]) -> pa.Array:
    """`name` of each text, asked once for each distinct one."""
    distinct = pc.unique(texts)
    names = pa.array([None if text is None else name(text) for text in distinct.to_pylist()], pa.string())
    return names.take(pc.index_in(texts, value_set=distinct))


def _text(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array of texts."""
    joined = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    joined = pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined
    return pc.cast(joined, pa.string())


def _words(row: str) -> Iterator[str]:
    """The values of a quarantined row, and the words of each."""
    for value in json.loads(row).values():
        if isinstance(value, str):
            yield value
            yield from _WORD.findall(value)


# --- in the lake


def anonymise_lake(lake: Lake, contracts: Mapping[str, Contract]) -> list[str]:
    """Take the erased customers out of the lake's tables; gives those that were written anew.

    By the contract, those of `contracts`, by lake table: orders before what is known to be a customer's by its order
    only. Of the others, what runs make of them, the id alone. Done twice, the second time changes nothing.

    Raises:
        ErasureError: the register cannot be used.
    """
    touched = []
    for table in sorted((info.identifier for info in lake.tables()), key=lambda name: (name != "raw.orders", name)):
        erased, contract = erased_in(lake), contracts.get(table)
        if erased is None:
            break
        change: Callable[[pa.Table], pa.Table]
        if contract is None:
            change = partial(renamed, register=erased.register)
        elif table.startswith("quarantine."):
            change = partial(anonymised_quarantine, contract=contract, erased=erased)
        else:
            change = partial(anonymised, contract=contract, erased=erased)
        if lake.rewrite(table, change):
            touched.append(table)
    return touched


# --- in the event log


def events_of(folder: Path, names: Collection[str]) -> int:
    """How many events of the log in `folder` are those of the customer who goes by any of `names`."""
    return sum(event.get(CUSTOMER) in names for path in segments(folder) for event in read(path).events)


def anonymise_log(lake: Lake) -> list[str]:
    """Take the erased customers out of the shop's event log, also while services write to it; the segments it changed.

    After the lake, by whose orders it is known that an event is theirs which names an order only.

    Raises:
        ErasureError: the register cannot be used.
    """
    erased = erased_in(lake)
    return rewrite(lake.settings.events_dir, events_without(erased)) if erased else []

"""`order_history.arrow`: what a release knows of earlier orders, as the checkout has to look it up.

The form of the file, and the keys by which it is searched. What the numbers are is decided where features are defined,
in `ml_assets.core.features`; this module knows no feature. The file has one row whose columns are lists, so that a
memory map of it is numpy arrays without a copy: nothing is read but the pages that a look-up touches.

No id, card, device or address is in it, but the first 64 bits of their SHA-256: pseudonyms, which whoever knows an id
or tries all internet addresses can recognise (ADR 35), so the file stays as guarded as the release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cartograph.releases.contents.base import ContentError
from cartograph.releases.contents.files import ORDER_HISTORY

NEVER = -(2**63)
"""Stands for a moment that is not known."""
NO_KEY = 0
"""Stands for an address or a place that is not known; no name has this key."""

_KEYS, _MOMENTS, _AMOUNTS, _COUNTS = pa.uint64(), pa.int64(), pa.int64(), pa.int32()
_SECTIONS = {
    "customers": {
        "customer_key": _KEYS,
        "customer_registered_us": _MOMENTS,
        "customer_address": _KEYS,
        "customer_city": _KEYS,
        "customer_country": _KEYS,
        "customer_first_us": _MOMENTS,
        "customer_last_us": _MOMENTS,
        "customer_orders": _COUNTS,
        "customer_spent_cents": _AMOUNTS,
        "customer_group": _COUNTS,
    },
    "pairs": {"pair_key": _KEYS},
    "tokens": {"token_key": _KEYS, "token_customers": _COUNTS, "token_group": _COUNTS},
    "groups": {"group_customers": _COUNTS, "group_chargebacks": _COUNTS},
    "recent": {"recent_key": _KEYS, "recent_us": _MOMENTS},
    "declined": {"declined_key": _KEYS, "declined_us": _MOMENTS},
    "days": {"day_number": _COUNTS, "day_cents": _AMOUNTS, "day_orders": _COUNTS},
    "products": {"product_key": _KEYS, "product_category": _KEYS},
    "visits": {"visit_key": _KEYS, "visit_event": _KEYS, "visit_us": _MOMENTS},
}
SCHEMA = pa.schema(
    [
        pa.field(name, pa.large_list(pa.field("item", kind, nullable=False)), nullable=False)
        for columns in _SECTIONS.values()
        for name, kind in columns.items()
    ]
)
"""One section after the other: the columns of a section are of one length, and the first is sorted.

- customers, those who ordered and those who did not: when they registered, the address, city and country on file, first
  and last order, how many, for how much, and the number of the group that they are in (-1: they never ordered).
- pairs: `pair` of a card, device, network, address or category, and a customer who has ordered with it.
- tokens, a card, device, network or address each: how many customers have ordered with it, and the group it is in.
- groups of actors who are linked by what they showed: customers, and orders that were charged back.
- recent: a customer or token, and when an order was placed; declined: a customer or card, and when a payment was
  declined; both of the last days only, by key and moment.
- days since 1970: what was ordered on each of the last 30; products: the key of the category of each.
- visits: a customer, the key of an event of a visit of theirs, and when it was received; of the last hour only.

Keys are `key_of`, moments are microseconds since 1970 (UTC), amounts hundredths of the shop's currency.
"""
_FORMS = (SCHEMA, pa.schema([field for field in SCHEMA if field.name not in _SECTIONS["visits"]]))
"""A shop without events has no visits, nor had a release that was made before there were any."""

_OF_CUSTOMERS = {"customers": "customer_key", "recent": "recent_key", "declined": "declined_key", "visits": "visit_key"}
"""The sections with rows of a customer, and by what they are sorted."""

_LAST = 2**64 - 1
_SPREAD = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: a multiplication by it spreads keys (Knuth, TAOCP 3, 6.4)."""

Keys = npt.NDArray[np.uint64]
Columns = Mapping[str, npt.NDArray[Any]]


def key_of(kind: str, name: str) -> int:
    """The key of a card, device, network, address, customer, product … by its kind and the shop's name for it."""
    key = int.from_bytes(hashlib.sha256(f"{kind}:{name}".encode(errors="surrogatepass")).digest()[:8], "big")
    return key or 1


def key_sql(kind: str, name: str) -> str:
    """`key_of` as SQL of DuckDB: `kind` and `name` are SQL themselves. Null where the name is."""
    key = f"greatest(CAST('0x' || substr(sha256({kind} || ':' || {name}), 1, 16) AS UBIGINT), 1)"
    return f"CASE WHEN {name} IS NOT NULL THEN {key} END"  # `greatest` passes over nulls


def pair(token: int, customer: int) -> int:
    """The key of a token or category together with a customer."""
    return (token * _SPREAD + customer) & _LAST


def pairs(tokens: Keys, customers: Keys | np.uint64) -> Keys:
    """`pair` of many."""
    return tokens * np.uint64(_SPREAD) + customers


def write_history(path: Path, as_of_us: int, columns: Columns) -> None:
    """Write the file: what was known before the moment `as_of_us`. `columns` are those of `SCHEMA`; visits may lack.

    Raises:
        ContentError: a column is missing or of another type, or a section is not sorted or not of one length.
    """
    form = next((form for form in _FORMS if set(form.names) == set(columns)), None)
    if form is None:
        raise ContentError(f"{ORDER_HISTORY} must have the columns {', '.join(SCHEMA.names)}")
    _check(columns)
    lists = [
        pa.LargeListArray.from_arrays(
            pa.array([0, len(columns[field.name])], pa.int64()),
            pa.array(columns[field.name], field.type.value_type),
            type=field.type,
        )
        for field in form
    ]
    schema = form.with_metadata({"as_of_us": str(as_of_us)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(lists, schema=schema))


def open_history(path: Path) -> tuple[int, Columns]:
    """Memory-map what `write_history` wrote: the moment, and the columns.

    Raises:
        ContentError: it is not an Arrow file, or not of the form that `write_history` gives.
    """
    try:
        file = pa.ipc.open_file(pa.memory_map(str(path)))
    except pa.ArrowInvalid as error:
        raise ContentError(f"{path.name} is not an Arrow file: {error}") from None
    moment = (file.schema.metadata or {}).get(b"as_of_us", b"").decode()
    form = next((form for form in _FORMS if file.schema.equals(form)), None)
    if form is None or file.num_record_batches != 1 or not moment.lstrip("-").isdigit():
        raise ContentError(f"{path.name} must be a row of the columns {', '.join(SCHEMA.names)}")
    batch = file.get_batch(0)
    if batch.num_rows != 1:
        raise ContentError(f"{path.name} must have one row, not {batch.num_rows}")
    columns = {name: batch[name].flatten().to_numpy() for name in form.names}
    _check(columns, sorted_too=False)
    return int(moment), columns


def rename_in_history(path: Path, names: Mapping[str, str]) -> bool:
    """Give customers of the file other names, the new by the old; whether one of them is there.

    What is on file of them goes, and what nobody else ever showed; their orders go on counting.

    Raises:
        ContentError: the file is damaged.
    """
    moment, mapped = open_history(path)
    keys = {key_of("customer", old): key_of("customer", new) for old, new in names.items()}
    renamed = [
        old for old in keys if any(key in mapped and contains(mapped[key], old) for key in _OF_CUSTOMERS.values())
    ]
    if not renamed:
        return False
    columns = {name: values.copy() for name, values in mapped.items()}
    for old in renamed:
        _rename(columns, old, keys[old])
    for section, key in _OF_CUSTOMERS.items():
        if key in columns:
            order = np.argsort(columns[key], kind="stable")
            columns |= {name: columns[name][order] for name in _SECTIONS[section]}
    columns["pair_key"] = np.sort(columns["pair_key"])
    aside = path.with_name(f"{path.name}.new")  # the old file is mapped into memory while it is read
    write_history(aside, moment, columns)
    aside.replace(path)
    return True


def contains(keys: Keys, key: int) -> bool:
    """Whether `key` is among the sorted `keys`."""
    return place_of(keys, key) is not None


def place_of(keys: Keys, key: int) -> int | None:
    """The place of `key` among the sorted `keys`, None where it is not there."""
    wanted = np.uint64(key)
    place = int(np.searchsorted(keys, wanted))
    return place if place < len(keys) and keys[place] == wanted else None


def _rename(columns: dict[str, npt.NDArray[Any]], old: int, new: int) -> None:
    at = np.flatnonzero(columns["customer_key"] == np.uint64(old))
    columns["customer_key"][at] = new
    columns["customer_registered_us"][at] = NEVER
    for name in ("customer_address", "customer_city", "customer_country"):
        columns[name][at] = NO_KEY
    for name in ("recent_key", "declined_key", "visit_key"):
        if name in columns:
            columns[name][columns[name] == np.uint64(old)] = new
    tokens = columns["token_key"]
    shown = np.isin(pairs(tokens, np.uint64(old)), columns["pair_key"])
    alone = shown & (columns["token_customers"] == 1)
    kept = np.concatenate([tokens[shown & ~alone], np.unique(columns["product_category"])])
    gone = np.concatenate([pairs(tokens[alone], np.uint64(old)), pairs(kept, np.uint64(old))])
    had = kept[np.isin(pairs(kept, np.uint64(old)), columns["pair_key"])]
    rest = columns["pair_key"][~np.isin(columns["pair_key"], gone)]
    columns["pair_key"] = np.concatenate([rest, pairs(had, np.uint64(new))])
    for section, leading in (("recent", "recent_key"), ("declined", "declined_key")):
        stays = ~np.isin(columns[leading], tokens[alone])
        for name in _SECTIONS[section]:
            columns[name] = columns[name][stays]
    for name in _SECTIONS["tokens"]:
        columns[name] = columns[name][~alone]


def _check(columns: Columns, *, sorted_too: bool = True) -> None:
    for section, names in _SECTIONS.items():
        lengths = {len(columns[name]) for name in names if name in columns}
        if len(lengths) > 1:
            raise ContentError(f"{ORDER_HISTORY}: the columns of its {section} must be of one length")
    if sorted_too:
        # Pairs may come twice: two pairs of one key are as unlikely as they are harmless.
        _check_sorted(columns, ("customer_key", "token_key", "day_number", "product_key"), strictly=True)
        moments = [name for name in ("recent_key", "declined_key", "visit_key") if name in columns]
        _check_sorted(columns, ("pair_key", *moments), strictly=False)
    for name in ("customer_group", "token_group"):
        if columns[name].max(initial=-1) >= len(columns["group_customers"]):
            raise ContentError(f"{ORDER_HISTORY}: {name} names a group that is not there")


def _check_sorted(columns: Columns, names: Iterable[str], *, strictly: bool) -> None:
    for name in names:
        one, other = columns[name][:-1], columns[name][1:]
        if not np.all(one < other if strictly else one <= other):
            raise ContentError(f"{ORDER_HISTORY} must be sorted by {name}{', each once' if strictly else ''}")

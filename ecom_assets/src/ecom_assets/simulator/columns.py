"""Arrow columns straight from numpy buffers: identifiers, money, times, and picks from small pools.

Encoding only, without a copy where the layout allows it and never a loop over rows; which values a dataset holds is
decided by the dataset's module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ecom_assets.simulator.streams import Bits, Bools, Ints

DAY = 86_400_000_000
HOUR = DAY // 24
MINUTE = HOUR // 60
SECOND = MINUTE // 60

_HEX_PAIRS = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), dtype=np.uint16)
_FOUR_DIGITS = np.frombuffer(b"".join(b"%04d" % i for i in range(10_000)), dtype=np.uint32)


@dataclass(frozen=True)
class Rows:
    """Rows of one dataset in the order of `(time, key)`.

    `time` is each row's event time in microseconds since 1970, `key` 64 bits that identify the row; `columns` are
    named as in the contract. `spared` rows are never broken, since rows of other datasets hang on them. All are as long
    as each other.
    """

    time: Ints
    key: Bits
    columns: dict[str, pa.Array]
    spared: Bools | None = None


def by_time(time: Ints, key: Bits) -> Ints:
    """The positions that put rows in the order of `(time, key)`."""
    order = np.argsort(time)
    ordered = time[order]
    return np.lexsort((key, time)) if (ordered[1:] == ordered[:-1]).any() else order


def _fixed_width(characters: npt.NDArray[np.uint8]) -> pa.Array:
    rows, width = characters.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    return pa.Array.from_buffers(
        pa.string(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(characters))]
    )


def hexadecimal(prefix: str, values: Bits) -> pa.Array:
    """Strings of `prefix` and the 16 hexadecimal digits of each value."""
    lead = np.frombuffer(prefix.encode(), dtype=np.uint8)
    pairs = _HEX_PAIRS[values.astype(">u8").view(np.uint8)].view(np.uint8).reshape(len(values), 16)
    characters = np.empty((len(values), len(lead) + 16), dtype=np.uint8)
    characters[:, : len(lead)] = lead
    characters[:, len(lead) :] = pairs
    return _fixed_width(characters)


def numbered(prefix: str, values: Ints) -> pa.Array:
    """Strings of `prefix` and each value in eight digits; values are 0 to 99,999,999."""
    lead = np.frombuffer(prefix.encode(), dtype=np.uint8)
    characters = np.empty((len(values), len(lead) + 8), dtype=np.uint8)
    characters[:, : len(lead)] = lead
    high, low = np.divmod(values, 10_000)
    for position, part in ((0, high), (4, low)):
        left = len(lead) + position
        characters[:, left : left + 4] = _FOUR_DIGITS[part].view(np.uint8).reshape(-1, 4)
    return _fixed_width(characters)


def decimals(values: Ints, scale: int) -> pa.Array:
    """DECIMAL(18, scale) from whole numbers of the smallest unit."""
    words = np.empty((len(values), 2), dtype=np.int64)
    words[:, 0] = values
    words[:, 1] = values >> 63
    return pa.Array.from_buffers(pa.decimal128(18, scale), len(values), [None, pa.py_buffer(words)])


def money(cents: Ints) -> pa.Array:
    """DECIMAL(18, 2) from cents."""
    return decimals(cents, 2)


def price(cents: Ints) -> pa.Array:
    """DECIMAL(18, 4) from cents."""
    return decimals(cents * 100, 4)


def timestamps(microseconds: Ints) -> pa.Array:
    """UTC timestamps from microseconds since 1970."""
    return pa.array(microseconds, type=pa.int64()).view(pa.timestamp("us", tz="UTC"))


def dates(microseconds: Ints) -> pa.Array:
    """The days of moments given in microseconds since 1970."""
    return pa.array((microseconds // DAY).astype(np.int32), type=pa.int32()).view(pa.date32())


def integers(values: Ints) -> pa.Array:
    """BIGINT."""
    return pa.array(values, type=pa.int64())


def pick(pool: pa.Array | Sequence[str], positions: Ints) -> pa.Array:
    """The pool's entries at `positions`; a negative position gives null."""
    values = pool if isinstance(pool, pa.Array) else pa.array(pool, type=pa.string())
    missing = positions < 0
    if not missing.any():
        return values.take(pa.array(positions))
    return values.take(pa.array(positions, mask=missing))


def blank(column: pa.Array, missing: Bools) -> pa.Array:
    """The column with null where `missing`."""
    return pc.if_else(pa.array(~missing), column, pa.scalar(None, type=column.type)) if missing.any() else column

"""Random numbers without a state: each is a pure function of the seed, a stream's name and the indices of its entity.

So a day, a customer or an order can be drawn alone, in any order and in any process, and comes out the same. The hash
is the finaliser of SplitMix64 (Steele, Lea and Flood 2014), applied once for each index. What is drawn with the
numbers belongs in the module that plants it.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, ndtri

Bits = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Index = npt.NDArray[np.integer] | npt.NDArray[np.uint64] | int

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


def mix(values: Bits) -> Bits:
    """Scramble 64-bit values; a bijection, so different values stay different. Works in place, any shape."""
    values ^= values >> _S30
    values *= _FIRST
    values ^= values >> _S27
    values *= _SECOND
    values ^= values >> _S31
    return values


def unit(bits: Bits) -> Floats:
    """Bits as numbers in the open interval (0, 1)."""
    return ((bits >> _S11).astype(np.float64) + 0.5) * 2.0**-53


def poisson(uniform: Floats, mean: Floats, largest: int) -> Ints:
    """Poisson counts by inversion, cut off at `largest`; meant for small means."""
    term = np.exp(-mean)
    below = term.copy()
    counts = np.zeros(uniform.shape, dtype=np.int64)
    for count in range(1, largest + 1):
        more = uniform > below
        if not more.any():
            break
        counts += more
        term = term * mean / count
        below += term
    return counts


class Streams:
    """The random streams of one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._keys: dict[str, np.uint64] = {}

    def _key(self, name: str) -> np.uint64:
        if name not in self._keys:
            digest = blake2b(f"{self._seed}/{name}".encode(), digest_size=8).digest()
            self._keys[name] = np.uint64(int.from_bytes(digest, "little"))
        return self._keys[name]

    def bits(self, name: str, *indices: Index) -> Bits:
        """64 random bits for each combination of the indices, which broadcast against each other."""
        state: Bits = np.full(1, self._key(name))
        for index in indices:
            state = mix(state + np.asarray(index).astype(np.uint64) * _GOLDEN)
        return state

    def uniform(self, name: str, *indices: Index) -> Floats:
        """Uniform numbers in (0, 1)."""
        return unit(self.bits(name, *indices))

    def normal(self, name: str, *indices: Index) -> Floats:
        """Standard normal numbers, by inversion."""
        values: Floats = ndtri(self.uniform(name, *indices))
        return values

    def exponential(self, name: str, *indices: Index) -> Floats:
        """Exponential numbers of mean 1."""
        return -np.log(self.uniform(name, *indices))

    def gamma(self, name: str, shape: float, *indices: Index) -> Floats:
        """Gamma numbers of the given shape and scale 1, by inversion."""
        values: Floats = gammaincinv(shape, self.uniform(name, *indices))
        return values

    def erlang(self, name: str, shape: int, *indices: Index) -> Floats:
        """Gamma numbers of a whole shape and scale 1: a sum of exponentials, cheaper than inversion."""
        total = self.exponential(name, *indices, 0)
        for part in range(1, shape):
            total = total + self.exponential(name, *indices, part)
        return total

"""Whether an asset still holds rows in which a check found an error: it was made of them, and not made again since.

A check that passes vouches for the rows that it looked at. What another run made of the rows before is as it was, until
it is made again, and so is what is made of that. Told by what each materialisation could read when it was made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

import dagster as dg

from cartograph.trust.asset_graph import GuardedAsset, ancestry
from cartograph.trust.gate import span_of
from cartograph.windows import Grain, Window, windows

_PAGE = 500
Keys = frozenset[str]


class Heir(NamedTuple):
    """An asset that holds rows in which a check of another one found an error."""

    asset: str
    check: dg.AssetCheckKey
    error: dg.AssetCheckEvaluation


class _Made(NamedTuple):
    """A materialisation: its place in the event log, its run, and its partition, None of an asset without them."""

    place: int
    run_id: str
    partition: str | None


def heirs(
    instance: dg.DagsterInstance,
    behind: Sequence[GuardedAsset],
    upstream: Collection[str],
    partitions: Keys | None,
    errors: Iterable[tuple[dg.AssetCheckKey, dg.AssetCheckEvaluation]],
    grain: Grain,
    as_of: Collection[str] = (),
) -> Iterator[Heir]:
    """Which assets that one of the assets `upstream` is made of, or these themselves, hold rows of `errors`.

    Told is the first for each error, and only what reaches the `partitions`: an asset without partitions, as a
    dimension is, may bring the rows of one partition into another.

    Args:
        instance: where materialisations are recorded.
        behind: the assets that `upstream` are made of, with them.
        upstream: what is read now, by its keys.
        partitions: the keys of the partitions that are read; None for all.
        errors: results of blocking checks, of assets among `behind`; whether or not they stand.
        grain: that of the partitions.
        as_of: those of `behind` whose partitions are not windows but as-of dates: what begins before is read.
    """
    known = {asset.key: asset for asset in behind}
    histories = _Histories(instance)
    for check, error in errors:
        bad = _Bad.of(histories, check.asset_key.to_user_string(), error, grain)
        if bad is None:
            continue
        family = _Family(known, histories, bad, frozenset(as_of))
        found = next((heir for one in upstream if (heir := family.heir(one, partitions, None))), None)
        if found is not None:
            yield Heir(found, check, error)


def keys_of(window: Window | None, grain: Grain) -> Keys | None:
    """The keys of the partitions in `window`; None for all."""
    return None if window is None else frozenset(one.key for one in windows(window.start, window.end, grain))


class _Histories:
    """The materialisations of assets, the latest first. Each asset is read once, and no further back than needed."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._since: dict[str, tuple[int, list[_Made]]] = {}

    def since(self, asset: str, place: int) -> list[_Made]:
        """Those after a place in the event log."""
        known = self._since.get(asset)
        if known is None or known[0] > place:
            wanted = dg.AssetRecordsFilter(dg.AssetKey.from_user_string(asset), after_storage_id=place)
            known = self._since[asset] = (place, list(self._read(wanted)))
        return [made for made in known[1] if made.place > place]

    def of_run(self, asset: str, run_id: str, until: int) -> list[_Made]:
        """Those that a run made, the last of which is at the place `until`."""
        wanted = dg.AssetRecordsFilter(dg.AssetKey.from_user_string(asset), before_storage_id=until + 1)
        found = []
        for made in self._read(wanted):
            if made.run_id != run_id:
                break
            found.append(made)
        return found

    def _read(self, wanted: dg.AssetRecordsFilter) -> Iterator[_Made]:
        cursor, has_more = None, True
        while has_more:
            page = self._instance.fetch_materializations(wanted, limit=_PAGE, cursor=cursor)
            yield from (_Made(one.storage_id, one.run_id, one.partition_key) for one in page.records)
            cursor, has_more = page.cursor, page.has_more


class _Bad(NamedTuple):
    """The materialisations of an asset in which a check found an error; with `is_gone`, their run was deleted since."""

    asset: str
    run_id: str
    first: int
    last: int
    partitions: Keys | None
    is_gone: bool

    @classmethod
    def of(cls, histories: _Histories, asset: str, error: dg.AssetCheckEvaluation, grain: Grain) -> _Bad | None:
        """Those that `error` is about; None where it was found on none."""
        target = error.target_materialization_data
        if target is None:
            return None
        made = histories.of_run(asset, target.run_id, target.storage_id)
        first = made[-1].place if made else target.storage_id
        span = span_of(error)
        keys = None if span is None else keys_of(Window(*map(datetime.fromisoformat, span)), grain)
        return cls(asset, target.run_id, first, target.storage_id, keys, not made)


class _Family:
    """What is made of bad rows, directly or not."""

    def __init__(self, known: Mapping[str, GuardedAsset], histories: _Histories, bad: _Bad, as_of: Keys) -> None:
        self._known, self._histories, self._bad, self._as_of_dates = known, histories, bad, as_of
        above = {key: {asset.key for asset in ancestry(known, [key])} for key in known}
        self._kin = {key for key, ancestors in above.items() if bad.asset in ancestors}
        self.heir = cache(self._heir)

    def _heir(self, asset: str, partitions: Keys | None, before: int | None) -> str | None:
        """The asset, or one that it is made of, that has bad rows as it was before a place in the event log.

        `partitions` are those that are looked at, None for all; `before` is None for what is there now.
        """
        if asset not in self._kin:
            return None
        if asset == self._bad.asset:
            return asset if self._is_bad(partitions, before) else None
        parents = self._known[asset].upstream
        if self._known[asset].is_view:
            return next((found for one in parents if (found := self.heir(one, partitions, before))), None)
        for made in self._as_of(asset, partitions, before):
            if any(self.heir(one, self._read(asset, made.partition, one), made.place) for one in parents):
                return asset
        return None

    def _read(self, asset: str, partition: str | None, parent: str) -> Keys | None:
        """The partitions of `parent` that can bring bad rows into a partition of `asset`; None for all."""
        if partition is None or parent in self._known[asset].looks_up:
            return None
        if asset not in self._as_of_dates or parent in self._as_of_dates:
            return frozenset({partition})
        return None if self._bad.partitions is None else frozenset(k for k in self._bad.partitions if k < partition)

    def _is_bad(self, partitions: Keys | None, before: int | None) -> bool:
        wanted = _both(partitions, self._bad.partitions)
        if wanted is not None and not wanted:
            return False
        found = list(self._as_of(self._bad.asset, wanted, before))
        if self._bad.is_gone:  # what was not made again is as that run left it
            again = {made.partition for made in found}
            return not again or (None not in again and wanted is not None and not wanted <= again)
        return any(made.run_id == self._bad.run_id and made.place <= self._bad.last for made in found)

    def _as_of(self, asset: str, partitions: Keys | None, before: int | None) -> Iterator[_Made]:
        """Of each partition the materialisation that held then, where it is not from before the bad rows."""
        seen = set()
        for made in self._histories.since(asset, self._bad.first - 1):
            is_wanted = partitions is None or made.partition is None or made.partition in partitions
            if is_wanted and (before is None or made.place < before) and made.partition not in seen:
                seen.add(made.partition)
                yield made


def _both(one: Keys | None, other: Keys | None) -> Keys | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other

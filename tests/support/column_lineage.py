"""Follows columns upstream through the metadata that Dagster stored with the latest materialisations."""

from __future__ import annotations

from functools import cache

from cartograph.cli.instance import open_instance
from cartograph.settings import Settings
from cartograph.trust.columns import Column, recorded_lineage


class ColumnLineage:
    """The stored column lineage of all assets of a shop."""

    def __init__(self, settings: Settings) -> None:
        with open_instance(settings) as instance:
            self.deps = recorded_lineage(instance)
        self.origins = cache(self._origins)

    def _origins(self, column: Column) -> frozenset[Column]:
        """The columns at which the ways upstream of `column` end."""
        asset, name = column
        above = self.deps.get(asset, {}).get(name, [])
        return frozenset().union(*(self.origins(dep) for dep in above)) if above else frozenset({column})

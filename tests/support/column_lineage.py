"""Follows columns upstream through the metadata that Dagster stored with the latest materialisations."""

from __future__ import annotations

from functools import cache

import dagster as dg

from cartograph.cli.instance import open_instance
from cartograph.settings import Settings

Column = tuple[str, str]
"""An asset key as text, and a column of it."""


class ColumnLineage:
    """The stored column lineage of all assets of a shop."""

    def __init__(self, settings: Settings) -> None:
        self.deps: dict[str, dict[str, list[Column]]] = {}
        with open_instance(settings) as instance:
            for key in instance.get_asset_keys():
                event = instance.get_latest_materialization_event(key)
                told = event.asset_materialization.metadata.get("dagster/column_lineage") if event else None
                if isinstance(told, dg.TableColumnLineageMetadataValue):
                    self.deps[key.to_user_string()] = {
                        column: [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps]
                        for column, deps in told.value.deps_by_column.items()
                    }
        self.origins = cache(self._origins)

    def _origins(self, column: Column) -> frozenset[Column]:
        """The columns at which the ways upstream of `column` end."""
        asset, name = column
        above = self.deps.get(asset, {}).get(name, [])
        return frozenset().union(*(self.origins(dep) for dep in above)) if above else frozenset({column})

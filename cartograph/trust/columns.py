"""The column lineage that Dagster keeps with the latest materialisations, followed downstream.

What a column is made of is recorded by the assets; whom that concerns is decided by the caller.
"""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg

Column = tuple[str, str]
"""An asset key as text, and a column of it."""
Dependencies = dict[str, dict[str, list[Column]]]
"""By asset and column, the columns that it is made of."""


def recorded_lineage(instance: dg.DagsterInstance) -> Dependencies:
    """What the latest materialisation of each asset told of its columns."""
    found: Dependencies = {}
    for key in instance.get_asset_keys():
        event = instance.get_latest_materialization_event(key)
        materialization = event.asset_materialization if event else None
        told = materialization.metadata.get("dagster/column_lineage") if materialization else None
        if isinstance(told, dg.TableColumnLineageMetadataValue):
            found[key.to_user_string()] = {
                column: [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps]
                for column, deps in told.value.deps_by_column.items()
            }
    return found


def made_of(lineage: Dependencies, roots: Collection[Column]) -> set[Column]:
    """The columns that are made of `roots`, directly or over others, and the roots themselves."""
    users: dict[Column, list[Column]] = {}
    for asset, columns in lineage.items():
        for name, deps in columns.items():
            for dep in deps:
                users.setdefault(dep, []).append((asset, name))
    found, waiting = set(roots), list(roots)
    while waiting:
        for user in users.get(waiting.pop(), ()):
            if user not in found:
                found.add(user)
                waiting.append(user)
    return found

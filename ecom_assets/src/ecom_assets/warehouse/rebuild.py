"""Builds the warehouse anew beside the real one and compares them: window by window must give what all at once does.

How dbt is called is in `dbt_project`; when this is done, and what becomes of the answer, is in `defs.quality`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb

from cartograph.lake import Lake
from cartograph.settings import Settings
from cartograph.words import counted
from ecom_assets.sql import identifier
from ecom_assets.warehouse.dbt_project import build_beside, work_folder
from ecom_assets.warehouse.lake_views import pinned_views, write_views
from ecom_assets.warehouse.marts import Mart
from ecom_assets.warehouse.publishing import open_warehouse


@dataclass(frozen=True)
class Difference:
    """How a mart differs from itself built anew: rows that only one of both has, and the keys of some of them."""

    mart: str
    surplus: int
    lacking: int
    keys: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.mart}: {counted(self.surplus, 'row')} that it should not have, {self.lacking:,} that it lacks"


def differences(settings: Settings, datasets: Collection[str], marts: Sequence[Mart], samples: int) -> list[Difference]:
    """Hold each of `marts` against one that is built anew over all of history from what the lake holds now.

    Raises:
        DbtProjectError: a model cannot be built.
        WarehouseMissingError: there is no warehouse yet.
    """
    with work_folder(settings, ".rebuild-") as aside:
        anew, views_file = aside / "warehouse.duckdb", aside / "lake_views.json"
        write_views(pinned_views(Lake.from_settings(settings), datasets), views_file)
        build_beside(settings, datasets, anew, views_file)
        with open_warehouse(settings) as connection:
            connection.execute(f"ATTACH '{anew}' AS anew (READ_ONLY)")
            found = [difference(connection, mart, mart.relation, f"anew.{mart.relation}", samples) for mart in marts]
            connection.execute("DETACH anew")
    return [one for one in found if one is not None]


def difference(
    connection: duckdb.DuckDBPyConnection, mart: Mart, real: str, anew: str, samples: int
) -> Difference | None:
    """How the tables `real` and `anew` of a mart differ; None where they hold the same rows."""
    names = ", ".join(identifier(name) for name in mart.contract.names)
    content = [
        connection.execute(f"SELECT count(*), sum(hash({names})) FROM {table}").fetchall() for table in (real, anew)
    ]
    if content[0] == content[1]:
        return None
    key = ", ".join(identifier(name) for name in mart.contract.key)
    surplus, lacking = (
        connection.sql(f"SELECT {names} FROM {left} EXCEPT ALL SELECT {names} FROM {right}")
        for left, right in ((real, anew), (anew, real))
    )
    keys = surplus.union(lacking).project(f"concat_ws(', ', {key}) AS key").distinct().order("key").limit(samples)
    return Difference(mart.name, len(surplus), len(lacking), tuple(f"{mart.name} {row[0]}" for row in keys.fetchall()))

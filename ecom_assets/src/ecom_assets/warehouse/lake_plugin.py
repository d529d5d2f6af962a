"""The dbt-duckdb plugin, named in `profiles.yml`: gives dbt's connection the lake's tables as `raw.*` and
`quarantine.*`.

It runs inside the dbt process. Only the hook is here; the views are made in `lake_views`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin

from cartograph.settings import Settings, get_settings
from cartograph.shops import load_shop
from ecom_assets.warehouse.dbt_project import VIEWS_VARIABLE
from ecom_assets.warehouse.lake_views import create_views, pinned_views, read_views

if TYPE_CHECKING:
    from cartograph.lake import Lake


class Plugin(BasePlugin):
    """Makes the views of the lake when dbt opens the warehouse for writing."""

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Make the views; not on a read-only connection, which Dagster opens to read columns when they are there.

        They are those that the caller pinned, or for a dbt that was started by hand those of the current snapshots.
        """
        settings, given = get_settings(), os.environ.get(VIEWS_VARIABLE)
        (mode,) = conn.execute("SELECT current_setting('access_mode')").fetchone() or ("",)
        is_read_only, is_remote = mode.lower() == "read_only", "://" in settings.resolved_lake_uri
        if is_remote:
            _lake(settings).configure(conn)
        if not is_read_only:
            views = read_views(Path(given)) if given else pinned_views(_lake(settings), load_shop(settings).datasets)
            create_views(conn, views)


def _lake(settings: Settings) -> Lake:
    from cartograph.lake import Lake  # 2 seconds, which views that are given need not cost

    return Lake.from_settings(settings)

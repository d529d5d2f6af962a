"""The dbt-duckdb plugin, named in `profiles.yml`: gives dbt's connection the lake's tables as `raw.*` and
`quarantine.*`.

It runs inside the dbt process. Only the hook is here; the views are made in `lake_views`.
"""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from ecom_assets.warehouse.dbt_project import VIEWS_VARIABLE
from ecom_assets.warehouse.lake_views import create_views, pinned_views, read_views


class Plugin(BasePlugin):
    """Makes the views of the lake when dbt opens the warehouse for writing."""

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Make the views; not on a read-only connection, which Dagster opens to read columns when they are there.

        They are those that the caller pinned, or for a dbt that was started by hand those of the current snapshots.
        """
        (mode,) = conn.execute("SELECT current_setting('access_mode')").fetchone() or ("",)
        if mode.lower() == "read_only":
            return
        settings, given = get_settings(), os.environ.get(VIEWS_VARIABLE)
        if given is not None and "://" not in settings.resolved_lake_uri:
            create_views(conn, read_views(Path(given)))
            return

        from cartograph.lake import Lake  # 2 seconds, for the access to S3 or for the current snapshots

        lake = Lake.from_settings(settings)
        lake.configure(conn)
        create_views(conn, read_views(Path(given)) if given else pinned_views(lake, load_shop(settings).datasets))

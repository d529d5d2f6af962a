"""The dbt-duckdb plugin, named in `profiles.yml`: gives dbt's connection the lake's tables as `raw.*` and
`quarantine.*`.

It runs inside the dbt process. Only the hook is here; the views are made in `lake_views`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt_common.exceptions import DbtRuntimeError

from cartograph.settings import Settings, SettingsError, get_settings
from cartograph.shops import ShopError, load_shop
from ecom_assets.warehouse.dbt_project import VIEWS_VARIABLE, told_as_held
from ecom_assets.warehouse.lake_views import LakeViews, create_views, pinned_views, read_views

if TYPE_CHECKING:
    from cartograph.lake import Lake


class Plugin(BasePlugin):
    """Makes the views of the lake when dbt opens the warehouse for writing."""

    def update_connection_config(self, creds: DuckDBCredentials, config: dict[str, Any]) -> None:
        """Open the warehouse once before dbt does, whose adapter lets DuckDB's errors pass as a traceback.

        Raises:
            DbtRuntimeError: a setting is wrong, or the warehouse cannot be opened, as while another process has it.
        """
        _settings()  # says it better than DuckDB: its threads and memory limit are among them
        try:
            duckdb.connect(creds.path, config=config).close()
        except duckdb.Error as error:
            raise DbtRuntimeError(told_as_held(creds.path, error)) from None

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Make the views; not on a read-only connection, which Dagster opens to read columns when they are there.

        They are those that the caller pinned, or for a dbt that was started by hand those of the current snapshots.

        Raises:
            DbtRuntimeError: dbt was started by hand, and nothing is loaded, or the shop cannot be used.
        """
        settings, given = _settings(), os.environ.get(VIEWS_VARIABLE)
        (mode,) = conn.execute("SELECT current_setting('access_mode')").fetchone() or ("",)
        is_read_only, is_remote = mode.lower() == "read_only", "://" in settings.resolved_lake_uri
        if is_remote:
            _lake(settings).configure(conn)
        if not is_read_only:
            create_views(conn, read_views(Path(given)) if given else _current_views(settings))


def _settings() -> Settings:
    try:
        return get_settings()
    except SettingsError as mistake:
        raise DbtRuntimeError(str(mistake)) from None


def _current_views(settings: Settings) -> LakeViews:
    """Views over what is loaded now. Over nothing, dbt would build a warehouse that looks whole, and is green."""
    from cartograph.lake import LakeError

    try:
        views = pinned_views(_lake(settings), load_shop(settings).datasets)
    except (ShopError, LakeError) as mistake:
        raise DbtRuntimeError(str(mistake)) from None
    if not views.pins:
        raise DbtRuntimeError(
            f"Nothing of shop {settings.shop!r} is loaded in {settings.home}. `cartograph run` loads it; "
            "CARTOGRAPH_SHOP and CARTOGRAPH_HOME choose another."
        )
    return views


def _lake(settings: Settings) -> Lake:
    from cartograph.lake import Lake  # 2 seconds, which views that are given need not cost

    return Lake.from_settings(settings)

"""The dbt-duckdb plugin, named in `profiles.yml`: gives dbt's connection the lake's tables as `raw.*`.

It runs inside the dbt process. Only the hook is here; the views are made in `raw_views`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin

from cartograph.lake import Lake
from cartograph.settings import get_settings
from cartograph.shops import load_shop
from ecom_assets.warehouse.dbt_project import PINS_VARIABLE
from ecom_assets.warehouse.raw_views import Pins, create_raw_views, pin_raw


class Plugin(BasePlugin):
    """Makes the `raw.*` views when dbt opens the warehouse for writing."""

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Make the views; not on a read-only connection, which Dagster opens to read columns when they are there."""
        (mode,) = conn.execute("SELECT current_setting('access_mode')").fetchone() or ("",)
        if mode.lower() == "read_only":
            return
        settings = get_settings()
        lake, datasets = Lake.from_settings(settings), load_shop(settings).datasets
        given = _given_pins()
        pins = given if given is not None else pin_raw(lake, datasets)
        create_raw_views(conn, lake, datasets, pins)


def _given_pins() -> Pins | None:
    """The pins that the caller chose; None where dbt was started by hand, which reads what is current."""
    path = os.environ.get(PINS_VARIABLE)
    if path is None:
        return None
    pins: dict[str, int] = json.loads(Path(path).read_text(encoding="utf-8"))
    return pins

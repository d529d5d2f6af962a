"""dbt in this process, on the project as it was parsed: as a command it would spend seconds on starting, each time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest

from cartograph.settings import Settings, get_settings
from cartograph.shops import load_shop
from cartograph.windows import Window
from ecom_assets.warehouse.dbt_project import (
    PROJECT_DIR,
    WAREHOUSE_VARIABLE,
    dbt_environment,
    dbt_home,
    environment_of,
    parsed_project,
)
from ecom_assets.warehouse.parsed_dbt import parsed_manifest

PLACES = ("--project-dir", str(PROJECT_DIR), "--profiles-dir", str(PROJECT_DIR), "--quiet")
_PARSED: dict[Path, Manifest] = {}
"""The manifest of each parsed project that was asked for."""


def build(settings: Settings, *arguments: str, window: Window | None = None) -> None:
    """`dbt build` on the shop of `settings`: of the facts those of `window` (None: of all time)."""
    done = call(settings, "build", *arguments, variables=dbt_environment(settings, _datasets(settings), window=window))
    assert done.success, done.exception or [f"{r.node.name}: {r.message}" for r in done.result if r.message]


def call(settings: Settings, *arguments: str, variables: Mapping[str, str]) -> dbtRunnerResult:
    """What came of dbt, called with `variables` besides those that lead it to the shop of `settings`."""
    datasets = _datasets(settings)
    folders = {name: str(dbt_home(settings) / "run") for name in ("DBT_TARGET_PATH", "DBT_LOG_PATH")}
    warehouse = Path(variables.get(WAREHOUSE_VARIABLE, settings.warehouse_path))
    parsed = parsed_project(settings, datasets)
    if parsed not in _PARSED:
        _PARSED[parsed] = parsed_manifest(parsed)
    get_settings.cache_clear()
    with environment_of({**dbt_environment(settings, datasets), **folders, **variables}):
        try:
            # Relations bear the name of the database: one of another name has a parse of its own.
            is_usual = warehouse.stem == settings.warehouse_path.stem
            return dbtRunner(_PARSED[parsed] if is_usual else _parse()).invoke([*arguments, *PLACES])
        finally:
            DuckDBConnectionManager.close_all_connections()
            get_settings.cache_clear()


def _parse() -> Manifest:
    parsed = dbtRunner().invoke(["parse", *PLACES])
    assert parsed.success, parsed.exception
    assert isinstance(parsed.result, Manifest)
    return parsed.result


def _datasets(settings: Settings) -> frozenset[str]:
    return load_shop(settings).datasets
